package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/backupd/backupd/internal/targets/s3/s3test"
	"github.com/backupd/backupd/internal/testenv"
)

// E2E_MEMORY_GIB asks for a larger volume: the figure must not grow with it. Some three times its size must be free on disk.
func TestMemoryIsBounded(t *testing.T) {
	const limit = 128 << 20
	gib := 1
	if text := os.Getenv("E2E_MEMORY_GIB"); text != "" {
		var err error
		if gib, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	server := s3test.Start(t)
	d := testenv.NewDocker(t)
	p := newProgram(t, d).with("BACKUPD_TARGETS", "s3="+server.Bucket("memory").String()).with("BACKUPD_SPOOL_LIMIT", "512MiB")
	volume := d.Volume("data", enrolled(), nil)
	dir := folder(t, d, volume)
	const large = 256 // MiB
	for i := range gib << 10 / large {
		fill(t, filepath.Join(dir, fmt.Sprintf("large-%d", i)), large)
	}
	restored := filepath.Join(t.TempDir(), "restored")
	for _, step := range []struct {
		name string
		args []string
	}{
		{"backup", []string{"backup", volume}},
		{"restore", []string{"restore", volume, "--to-dir", restored}},
	} {
		e := p.run(0, step.args...)
		if e.peak > limit {
			t.Errorf("%s of %d GiB took %d MiB of memory", step.name, gib, e.peak>>20)
		}
		t.Attr(fmt.Sprintf("peak_memory_of_%s_%d_gib", step.name, gib), fmt.Sprintf("at most %d MiB", e.peak>>20))
	}
}
