package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	keypair "filippo.io/age"
	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// words are the commands that stories have beside testscript's own.
var words = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"exits":  exits,
	"keys":   keys,
	"let":    let,
	"damage": damage,
	"pair":   pair,
	"same":   same,
	"tmpfs":  tmpfs,
}

// exits CODE PROGRAM ARGS... runs a program that must end with the exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		got, err = exit.ExitCode(), nil
	}
	ts.Check(err)
	if neg || got != want {
		ts.Fatalf("exit code %d, and wanted %d", got, want)
	}
}

// keys FILE compares the keys of the JSON document that was printed last with the lines of the file: neither more nor fewer.
func keys(ts *testscript.TestScript, neg bool, args []string) {
	var document any
	if err := json.Unmarshal([]byte(ts.ReadFile("stdout")), &document); err != nil || neg {
		ts.Fatalf("not one JSON document: %v", err)
	}
	found := map[string]bool{}
	collect(found, "", document)
	want := strings.Fields(ts.ReadFile(args[0]))
	slices.Sort(want)
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(found))); diff != "" {
		ts.Fatalf("keys (-want +got):\n%s", diff)
	}
}

// collect gives the paths of all leaves, and of what is empty: those of scripts that read the document.
func collect(found map[string]bool, path string, value any) {
	switch v := value.(type) {
	case map[string]any:
		for key, inner := range v {
			collect(found, path+"."+key, inner)
		}
	case []any:
		for _, inner := range v {
			collect(found, path+"[]", inner)
		}
		if len(v) == 0 {
			found[path+"[]"] = true
		}
	default:
		found[path] = true
	}
}

// let NAME REGEXP [N] gives a variable what the parentheses of the expression match in the Nth line of what was printed that
// it matches; the first, unless N says otherwise.
func let(ts *testscript.TestScript, neg bool, args []string) {
	n := 1
	if len(args) == 3 {
		var err error
		n, err = strconv.Atoi(args[2])
		ts.Check(err)
	}
	re := regexp.MustCompile("(?m)" + args[1])
	matches := re.FindAllStringSubmatch(ts.ReadFile("stdout"), n)
	if neg || len(matches) < n {
		ts.Fatalf("%q matches %d times", args[1], len(matches))
	}
	ts.Setenv(args[0], matches[n-1][1])
}

// damage GLOB flips a bit in the middle of the one file that matches.
func damage(ts *testscript.TestScript, neg bool, args []string) {
	found, err := filepath.Glob(ts.MkAbs(args[0]))
	ts.Check(err)
	if neg || len(found) != 1 {
		ts.Fatalf("%s matches %q", args[0], found)
	}
	data, err := os.ReadFile(found[0])
	ts.Check(err)
	data[len(data)/2] ^= 1
	ts.Check(os.Chmod(found[0], 0o640))
	ts.Check(os.WriteFile(found[0], data, 0o640))
}

// pair NAME [PASSPHRASE] makes a key for encryption: NAME.pub, which $NAME holds too, and NAME.key.
func pair(ts *testscript.TestScript, neg bool, args []string) {
	key, err := keypair.GenerateX25519Identity()
	ts.Check(err)
	private := bytes.NewBufferString("# a key\n" + key.String() + "\n")
	if len(args) == 2 {
		private = protected(ts, private, args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".pub"), []byte(key.Recipient().String()+"\n"), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".key"), private.Bytes(), 0o600))
	ts.Setenv(args[0], key.Recipient().String())
}

func protected(ts *testscript.TestScript, private *bytes.Buffer, phrase string) (sealed *bytes.Buffer) {
	to, err := keypair.NewScryptRecipient(phrase)
	ts.Check(err)
	to.SetWorkFactor(10)
	sealed = new(bytes.Buffer)
	w, err := keypair.Encrypt(sealed, to)
	ts.Check(err)
	_, err = private.WriteTo(w)
	ts.Check(errors.Join(err, w.Close()))
	return sealed
}

// same DIR DIR compares all that is in two folders: names, kinds, modes, times and contents.
func same(ts *testscript.TestScript, neg bool, args []string) {
	diff := cmp.Diff(look(ts, args[0]), look(ts, args[1]))
	if (diff == "") == neg {
		ts.Fatalf("folders (-%s +%s):\n%s", args[0], args[1], diff)
	}
}

func look(ts *testscript.TestScript, dir string) map[string]string {
	seen := map[string]string{}
	dir = ts.MkAbs(dir)
	ts.Check(filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		seen[name] = fmt.Sprintf("%v %v", info.Mode(), info.ModTime().UTC())
		if info.Mode().IsRegular() {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			seen[name] += fmt.Sprintf(" %q", data)
		}
		return nil
	}))
	return seen
}

// tmpfs DIR OPTIONS mounts a file system of memory for the rest of the story.
func tmpfs(ts *testscript.TestScript, neg bool, args []string) {
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o755))
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, args[1]); err != nil || neg {
		ts.Fatalf("mount %s: %v", dir, err)
	}
	ts.Defer(func() { ts.Check(unix.Unmount(dir, unix.MNT_DETACH)) })
}
