package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/backupd/backupd/internal/targets/s3/s3test"
	"github.com/backupd/backupd/internal/testenv"
)

// E2E_MEMORY_GIB asks for a larger volume: the figure must not grow with it. Some five times its size must be free on disk.
func TestMemoryIsBounded(t *testing.T) {
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
	several := "local=file://" + t.TempDir() + ",s3=" + server.Bucket("several").String()
	sealed, _ := p.with("BACKUPD_TARGETS", several).encrypting()
	volume := d.Volume("data", enrolled(), nil)
	dir := folder(t, d, volume)
	const large = 256 // MiB
	for i := range gib << 10 / large {
		fill(t, filepath.Join(dir, fmt.Sprintf("large-%d", i)), large)
	}
	restored := filepath.Join(t.TempDir(), "restored")
	for _, step := range []struct {
		name  string
		limit int64 // MiB
		by    *program
		args  []string
	}{
		{"backup", 128, p, []string{"backup", volume}},
		{"restore", 128, p, []string{"restore", volume, "--to-dir", restored}},
		{"encrypted_backup_to_two", 192, sealed, []string{"backup", volume}},
	} {
		peak := step.by.peak(step.args...)
		if peak > step.limit<<20 {
			t.Errorf("%s of %d GiB took %d MiB of memory", step.name, gib, peak>>20)
		}
		t.Attr(fmt.Sprintf("peak_memory_of_%s_%d_gib", step.name, gib), fmt.Sprintf("%d MiB", peak>>20))
	}
}

// Parts that are larger than all that may be in memory wait in the spool, also where it has no room for several.
func TestMemoryIsBoundedWhereNoPartFits(t *testing.T) {
	const limit = 128 << 20
	server := s3test.Start(t)
	volumes := t.TempDir()
	if err := os.Mkdir(filepath.Join(volumes, "app"), 0o755); err != nil {
		t.Fatal(err)
	}
	fill(t, filepath.Join(volumes, "app", "large"), 700) // of which three quarters do not compress
	u := server.Bucket("large-parts").String() + "&part-size=150MiB&concurrency=1"
	p := newDirProgram(t, volumes).with("BACKUPD_TARGETS", "s3="+u).with("BACKUPD_SPOOL_LIMIT", "200MiB")
	if peak := p.peak("backup", "app"); peak > limit {
		t.Errorf("it took %d MiB of memory", peak>>20)
	} else {
		t.Attr("peak_memory", fmt.Sprintf("%d MiB", peak>>20))
	}
	p.run(0, "verify", "--all")
}

// peak runs a command to its end, and gives the bytes of memory that were resident at most. It is started by a small program, as the kernel
// counts along what whoever starts one has resident: these tests, perhaps more than is measured.
func (p *program) peak(args ...string) int64 {
	p.t.Helper()
	figure := filepath.Join(p.t.TempDir(), "peak")
	measured := append([]string{"-f", "%M", "-o", figure, binary(p.t)}, args...)
	cmd := exec.Command(testenv.Tool(p.t, "/usr/bin/time"), measured...)
	cmd.Env = p.env
	if said, err := cmd.CombinedOutput(); err != nil {
		p.t.Fatalf("backupd %q: %v; it says:\n%s", args, err, said)
	}
	text, err := os.ReadFile(figure)
	if err != nil {
		p.t.Fatal(err)
	}
	kib, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		p.t.Fatal(err)
	}
	return kib << 10
}
