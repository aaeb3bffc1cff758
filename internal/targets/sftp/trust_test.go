package sftp

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/backupd/backupd/internal/targets"
	"github.com/backupd/backupd/internal/targets/sftp/sftptest"
	"github.com/backupd/backupd/internal/testenv"
)

func checkError(t *testing.T, u *url.URL) string {
	t.Helper()
	if err := openAt(t, u).Check(t.Context()); err != nil {
		return err.Error()
	}
	return ""
}

func with(u *url.URL, name, value string) *url.URL {
	c, query := *u, u.Query()
	query.Set(name, value)
	c.RawQuery = query.Encode()
	return &c
}

func TestAServerHasToBeKnown(t *testing.T) {
	server := sftptest.Start(t)
	u := server.URL(t.TempDir() + "/target")
	file := filepath.Join(t.TempDir(), "known_hosts")
	u = with(u, "known-hosts", file)

	said := checkError(t, u)
	_, add, found := strings.Cut(said, "add it by\n")
	if !found || !strings.Contains(said, "SHA256:") {
		t.Fatalf("the error does not say how to add a server: %s", said)
	}
	if out, err := exec.Command("sh", "-c", add).CombinedOutput(); err != nil {
		t.Fatalf("what it says to run fails: %v: %s", err, out)
	}
	if said := checkError(t, u); said != "" {
		t.Errorf("the server was added as was said: %s", said)
	}

	other := sftptest.Start(t)
	known, err := os.ReadFile(other.KnownHosts)
	if err != nil {
		t.Fatal(err)
	}
	swapped := strings.ReplaceAll(string(known), other.Address[len("127.0.0.1:"):], server.Address[len("127.0.0.1:"):])
	for name, c := range map[string]struct{ line, want string }{
		"another key": {swapped, "the server shows another key"},
		"revoked":     {"@revoked * " + strings.SplitN(lineOf(t, file), " ", 2)[1], "revoked"},
	} {
		if err := os.WriteFile(file, []byte(c.line), 0o600); err != nil {
			t.Fatal(err)
		}
		if said := checkError(t, u); !strings.Contains(said, c.want) {
			t.Errorf("%s: %q, want %q", name, said, c.want)
		}
		if err := os.WriteFile(file, []byte(add), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func lineOf(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestKeysToLogInWith(t *testing.T) {
	server := sftptest.Start(t)
	dir := t.TempDir()
	u := server.URL(dir + "/target")
	keygen := testenv.Tool(t, "ssh-keygen")
	key := func(name string, args ...string) string {
		path := filepath.Join(dir, name)
		if out, err := exec.Command(keygen, append([]string{"-q", "-t", "ed25519", "-f", path}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return path
	}
	noKey := filepath.Join(dir, "novel")
	if err := os.WriteFile(noKey, []byte("hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ identity, want string }{
		"a stranger's":      {key("other", "-N", ""), "lets user "},
		"with a passphrase": {key("locked", "-N", "hunter2"), "has a passphrase"},
		"none at all":       {noKey, "is not a private key"},
		"not there":         {filepath.Join(dir, "nothing"), "no such file"},
	} {
		if said := checkError(t, with(u, "identity", c.identity)); !strings.Contains(said, c.want) || strings.Contains(said, "hunter2") {
			t.Errorf("%s: %q, want %q", name, said, c.want)
		}
	}

	query := u.Query()
	query.Del("identity")
	u.RawQuery = query.Encode()
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("SSH_AUTH_SOCK", "")
	if said := checkError(t, u); !strings.Contains(said, "there is no key to log in with") {
		t.Errorf("no key: %q", said)
	}
	t.Setenv("SSH_AUTH_SOCK", filepath.Join(dir, "nobody"))
	if said := checkError(t, u); !strings.Contains(said, "ask the agent") {
		t.Errorf("no agent: %q", said)
	}
	if err := os.Mkdir(filepath.Join(home, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(server.Identity, filepath.Join(home, ".ssh", "id_ed25519")); err != nil {
		t.Fatal(err)
	}
	if said := checkError(t, u); said != "" {
		t.Errorf("by the key where ssh looks for one: %s", said)
	}
}

func TestByAnAgent(t *testing.T) {
	server := sftptest.Start(t)
	dir := t.TempDir()
	socket := filepath.Join(dir, "agent")
	agent := exec.Command(testenv.Tool(t, "ssh-agent"), "-D", "-a", socket)
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = agent.Process.Kill()
		_ = agent.Wait() // it was killed
	})
	t.Setenv("SSH_AUTH_SOCK", socket)
	t.Setenv("HOME", t.TempDir())
	add := testenv.Tool(t, "ssh-add")
	for try := 1; ; try++ { // it listens soon
		out, err := exec.Command(add, "-q", server.Identity).CombinedOutput()
		if err == nil {
			break
		}
		if try == 1000 {
			t.Fatalf("%v: %s", err, out)
		}
	}
	u := server.URL(dir + "/target")
	query := u.Query()
	query.Del("identity")
	u.RawQuery = query.Encode()
	if said := checkError(t, u); said != "" {
		t.Error(said)
	}
}

func TestCheck(t *testing.T) {
	server := sftptest.Start(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for folder, want := range map[string]string{"/nothing/target": "is what it lies in there?", "/file": "it is not a folder"} {
		if said := checkError(t, server.URL(dir+folder)); !strings.Contains(said, want) {
			t.Errorf("%s: %q, want %q", folder, said, want)
		}
	}
	closed := server.URL(dir + "/target")
	closed.Host = "127.0.0.1:1"
	if said := checkError(t, closed); !strings.Contains(said, "connect to 127.0.0.1:1") {
		t.Errorf("nobody listens: %q", said)
	}

	// What was left long ago goes, and nothing else.
	partials := filepath.Join(dir, "target", targets.Partials)
	if err := os.MkdirAll(partials, 0o700); err != nil {
		t.Fatal(err)
	}
	longAgo := time.Now().Add(-72 * time.Hour)
	for name, age := range map[string]time.Time{"old": longAgo, "fresh": time.Now(), "../kept": longAgo} {
		path := filepath.Join(partials, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, age, age); err != nil {
			t.Fatal(err)
		}
	}
	if said := checkError(t, server.URL(dir+"/target")); said != "" {
		t.Error(said)
	}
	left, err := os.ReadDir(partials)
	if err != nil || len(left) != 1 || left[0].Name() != "fresh" {
		t.Errorf("of what is being put there are %v, %v", left, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "target", "kept")); err != nil {
		t.Error(err)
	}
}

func TestURLs(t *testing.T) {
	for text, want := range map[string]location{
		"sftp://me@nas/backups":                              {user: "me", address: "nas:22", folder: "/backups"},
		"sftp://me@nas:2222/a/b/":                            {user: "me", address: "nas:2222", folder: "/a/b"},
		"sftp://u1-sub2@[::1]/~/backups":                     {user: "u1-sub2", address: "[::1]:22", folder: "backups"},
		"sftp://me@nas/a%20b%2Cc?identity=/k&known-hosts=/h": {user: "me", address: "nas:22", folder: "/a b,c", identity: "/k", knownHosts: "/h"},
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := parse(u); err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"s3://me@nas/x":                           "sftp://user@host/folder",
		"sftp:nas":                                "sftp://user@host/folder",
		"sftp://me:hunter2@nas/x":                 "a password does not belong in it",
		"sftp://nas/x":                            "names no user",
		"sftp://me@hunter2@nas/x":                 "names no user",
		"sftp://me@nas":                           "names no folder",
		"sftp://me@nas/":                          "names no folder",
		"sftp://me@nas/~":                         "names no folder",
		"sftp://me@nas/x#hunter2":                 "%23",
		"sftp://me@nas/x%00":                      "names no folder",
		"sftp://me@nas/x?identiy=/k":              "did you mean identity?",
		"sftp://me@nas/x?password=hunter2":        "there are identity, known-hosts",
		"sftp://me@nas/x?identity=id":             "an absolute path",
		"sftp://me@nas/x?identity=/a&identity=/b": "more than once",
		"sftp://me@nas/x?insecure=%hunter2":       "key=value",
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Open(u); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want it to speak of %q and to repeat no secret", text, err, want)
		}
	}
}
