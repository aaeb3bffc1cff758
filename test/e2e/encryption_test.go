package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backupd/backupd/internal/testenv"
)

// encrypting is the same program with archives encrypted to a new key of SSH, which opened has also.
func (p *program) encrypting() (writes, opened *program) {
	p.t.Helper()
	key := filepath.Join(p.t.TempDir(), "key")
	if said, err := exec.Command(testenv.Tool(p.t, "ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", key).CombinedOutput(); err != nil {
		p.t.Fatalf("make a key: %v: %s", err, said)
	}
	public, err := os.ReadFile(key + ".pub")
	must(p.t, err)
	writes = p.with("BACKUPD_AGE_RECIPIENTS", strings.TrimSpace(string(public)))
	return writes, writes.with("BACKUPD_AGE_IDENTITY", key)
}

// withText gives the files below a folder that have a text in them.
func withText(t *testing.T, dir, text string) (names []string) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte(text)) {
			names = append(names, path)
		}
		return err
	}))
	return names
}

// A volume that is read and written by a helper container is encrypted and decrypted outside of it.
func TestAnEncryptedVolumeGoesThroughAHelperAndBack(t *testing.T) {
	testenv.Root(t)
	t.Parallel()
	d := testenv.NewDocker(t)
	writes, opened := newProgram(t, d).encrypting()
	source, target := t.TempDir(), t.TempDir()
	fidelity(t, source)
	write(t, filepath.Join(source, "a name that tells"), strings.Repeat("and words that do", 1000))
	volume := bound(t, d, "sealed", source, enrolled())
	writes.backup(0, volume)
	for _, dir := range []string{writes.local, writes.setting("BACKUPD_STATE_DIR")} {
		for _, text := range []string{"a name that tells", "words that do"} {
			if names := withText(t, dir, text); len(names) > 0 {
				t.Errorf("%q is in %q", text, names)
			}
		}
	}
	back := bound(t, d, "opened", target, enrolled())
	if e := writes.run(1, "restore", volume, "--to-volume", back); !strings.Contains(e.complaints, "it is encrypted, and no key is set") {
		t.Errorf("without the key it says %s", e.complaints)
	}
	opened.run(0, "restore", volume, "--to-volume", back)
	writes.backup(0, back)
	if opened.exported(back) != opened.exported(volume) {
		t.Error("what was restored is not what was backed up")
	}
	noHelpers(t, d, volume)
	noHelpers(t, d, back)
}
