package seal

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"filippo.io/age"
)

func TestAKeyIsProvenByWhatItOpens(t *testing.T) {
	var texts []string
	var keys []*Keys
	for range 2 {
		id, err := age.GenerateX25519Identity()
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(path, []byte(id.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		texts, keys = append(texts, id.Recipient().String()), append(keys, KeysIn(path, nil))
	}
	read := func(text string) (r Recipients) {
		if err := r.UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
		return r
	}
	one, both := read(texts[0]), read(texts[0]+","+texts[1])
	for i, k := range keys {
		if err := both.Opens(k); err != nil {
			t.Errorf("key %d does not open what is encrypted to both: %v", i, err)
		}
	}
	if err := one.Opens(keys[0]); err != nil {
		t.Error(err)
	}
	if err := one.Opens(keys[1]); !errors.Is(err, ErrLocked) {
		t.Errorf("another key: %v", err)
	}
	if err := one.Opens(nil); !errors.Is(err, ErrLocked) {
		t.Errorf("no key: %v", err)
	}

	same := read("# a comment\n" + texts[1] + "\n" + texts[0] + "," + texts[0])
	if both.Fingerprint() != same.Fingerprint() || both.Fingerprint() == one.Fingerprint() || (Recipients{}).Fingerprint() != "" {
		t.Error("sets of keys are not told apart by what is in them")
	}
	const ssh = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN"
	if read(ssh).Fingerprint() != read(ssh+" me@laptop").Fingerprint() {
		t.Error("an SSH key is another one by its comment")
	}
}
