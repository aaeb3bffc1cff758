package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backupd/backupd/internal/testenv"
)

// A volume that is no folder of this host is compared where it is, by a helper container, which then is gone.
func TestADryRunComparesThroughAHelper(t *testing.T) {
	testenv.Root(t)
	t.Parallel()
	d := testenv.NewDocker(t)
	p := newProgram(t, d)
	source := t.TempDir()
	fidelity(t, source)
	volume := bound(t, d, "share", source, enrolled())
	p.backup(0, volume)
	if e := p.run(0, "restore", volume, "--in-place", "--dry-run"); e.out != "" || !strings.Contains(e.complaints, "0 new, 0 changed, 0 gone") {
		t.Errorf("of what has not changed it says:\n%s%s", e.out, e.complaints)
	}
	write(t, filepath.Join(source, "a new one"), "mine")
	if e := p.run(0, "restore", volume, "--in-place", "--dry-run"); e.out != "~ . (time)\n- a new one\n" || !strings.Contains(e.complaints, "0 new, 1 changed, 1 gone") {
		t.Errorf("of a new file it says:\n%s%s", e.out, e.complaints)
	}
	if _, err := os.Stat(filepath.Join(source, "a new one")); err != nil {
		t.Error(err)
	}
	noHelpers(t, d, volume)
}
