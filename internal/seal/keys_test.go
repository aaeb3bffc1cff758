package seal_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"

	"github.com/backupd/backupd/internal/seal"
	"github.com/backupd/backupd/internal/testenv"
)

func TestRecipientsAreRead(t *testing.T) {
	one, _ := pair(t)
	two, _ := pair(t)
	_, ssh := sshPair(t, "ed25519", "")
	for name, text := range map[string]string{
		"one": one, "commas": one + ", " + two, "lines": "# who\n" + one + "\n\n" + two + "\n", "SSH": ssh, "mixed": one + "," + ssh + "\r\n" + two,
	} {
		var r seal.Recipients
		if err := r.UnmarshalText([]byte(text)); err != nil || r.None() {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBadRecipientsAreNamedByTheirPlace(t *testing.T) {
	one, private := pair(t)
	hybrid, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct{ text, want string }{
		"nothing":           {" ,\n", "there is no key in it: write age1..."},
		"cut off":           {one[:40], "key 1 of the list: it is cut off or mistyped"},
		"mistyped":          {one + ",age1" + strings.Repeat("q", 58), "key 2 of the list: it is cut off or mistyped"},
		"private":           {one + "\n" + private, "key 2 of the list: it is a private key"},
		"private, in small": {strings.ToLower(private), "key 1 of the list: it is a private key"},
		"private SSH":       {"-----BEGIN OPENSSH PRIVATE KEY-----", "key 1 of the list: it is a private key"},
		"a plugin's":        {"age1yubikey1qqqqqq", "key 1 of the list: it is of a plugin of age"},
		"another SSH kind":  {"ssh-dss AAAAB3NzaC1kc3M=", "key 1 of the list: it is cut off or mistyped, or of a kind"},
		"words":             {"hunter2", "key 1 of the list: it is no public key"},
		"two":               {"hunter2,hunter2", "key 2 of the list: it is no public key"},
		"too many":          {strings.Repeat(one+",", 33), "there are 33 keys in it, and at most 32 are possible"},
		"of two worlds":     {one + "," + hybrid.Recipient().String(), "these keys cannot be used together: "},
	}
	for name, tt := range tests {
		var r seal.Recipients
		err := r.UnmarshalText([]byte(tt.text))
		if err == nil || !strings.Contains(err.Error(), tt.want) || !r.None() {
			t.Errorf("%s: error is %v, want %q", name, err, tt.want)
			continue
		}
		for _, secret := range []string{private[20:], strings.ToLower(private[20:]), "hunter2"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: it is repeated in %v", name, err)
			}
		}
	}
}

// The largest header that there can be is within what is fetched of the beginning.
func TestManyLargeRecipientsAreRead(t *testing.T) {
	id, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	to := recipients(t, strings.Repeat(id.Recipient().String()+"\n", 32))
	plain := random(20 * piece)
	o := open(t, &object{stored: sealed(t, to, plain)}, keysIn(t, id.String()))
	if got := part(t, o, 0, o.Size()); !bytes.Equal(got, plain) {
		t.Error("it differs")
	}
}

// sshPair makes an SSH key: the path of the private one, and the public one.
func sshPair(t *testing.T, kind, passphrase string) (private, public string) {
	t.Helper()
	private = filepath.Join(t.TempDir(), "id")
	run(t, testenv.Tool(t, "ssh-keygen"), "-q", "-t", kind, "-N", passphrase, "-C", "joe@host", "-f", private)
	line, err := os.ReadFile(private + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	return private, strings.TrimSpace(string(line))
}

func run(t *testing.T, program string, args ...string) []byte {
	t.Helper()
	c := exec.Command(program, args...)
	var complaints bytes.Buffer
	c.Stderr = &complaints
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s", program, err, complaints.String())
	}
	return out
}

func TestSSHKeysOpenWhatIsSealedToThem(t *testing.T) {
	for _, kind := range []string{"ed25519", "rsa"} {
		private, public := sshPair(t, kind, "")
		plain := random(20 * piece)
		o := open(t, &object{stored: sealed(t, recipients(t, public), plain)}, seal.KeysIn(private, silent(t)))
		if got := part(t, o, 0, o.Size()); !bytes.Equal(got, plain) {
			t.Errorf("%s: it differs", kind)
		}
	}
}

func TestTheStockToolOpensWhatIsSealed(t *testing.T) {
	program := testenv.Tool(t, "age")
	public, private := pair(t)
	ssh, line := sshPair(t, "ed25519", "")
	plain := random(3*piece + 1)
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	stored := write("sealed.age", sealed(t, recipients(t, public+","+line), plain))
	for _, key := range []string{write("key", []byte(private)), ssh} {
		if !bytes.Equal(run(t, program, "-d", "-i", key, stored), plain) {
			t.Errorf("with %s it differs", key)
		}
	}
}

// protectedBy makes a file of keys that takes a passphrase.
func protectedBy(t *testing.T, phrase, private string, armored bool) string {
	t.Helper()
	to, err := age.NewScryptRecipient(phrase)
	if err != nil {
		t.Fatal(err)
	}
	to.SetWorkFactor(10)
	var file bytes.Buffer
	out := io.WriteCloser(nopCloser{&file})
	if armored {
		out = armor.NewWriter(&file)
	}
	w, err := age.Encrypt(out, to)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.WriteString(w, private)
	if err := errors.Join(err, w.Close(), out.Close()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "keys.age")
	if err := os.WriteFile(path, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

func TestAPassphraseIsAskedForWhenItIsNeeded(t *testing.T) {
	public, private := pair(t)
	ssh, line := sshPair(t, "ed25519", "open sesame")
	plain := random(10)
	stored := sealed(t, recipients(t, public+","+line), plain)
	other := sealed(t, recipients(t, public), plain)
	says := func(phrase string) seal.Ask { return func(string) ([]byte, error) { return []byte(phrase), nil } }
	files := map[string]string{
		"age": protectedBy(t, "open sesame", private, false), "armored": protectedBy(t, "open sesame", private, true), "SSH": ssh,
	}
	for name, path := range files {
		got := part(t, open(t, &object{stored: stored}, seal.KeysIn(path, says("open sesame"))), 0, 10)
		if !bytes.Equal(got, plain) {
			t.Errorf("%s: it differs", name)
		}
		nobody := func(string) ([]byte, error) { return nil, errors.New("nobody is there") }
		for want, ask := range map[string]seal.Ask{"nobody is there": nobody, "the key is not to be had": says("hunter2")} {
			_, err := seal.Open(t.Context(), (&object{stored: stored}).source, int64(len(stored)), seal.KeysIn(path, ask))
			if !errors.Is(err, seal.ErrLocked) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s: error is %v", name, err)
			}
		}
	}
	// Nobody is asked for the passphrase of a key that is of no use.
	_, err := seal.Open(t.Context(), (&object{stored: other}).source, int64(len(other)), seal.KeysIn(ssh, func(string) ([]byte, error) {
		t.Error("the passphrase was asked for")
		return nil, nil
	}))
	if !errors.Is(err, seal.ErrLocked) {
		t.Errorf("error is %v", err)
	}
}
