package e2e

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/backupd/backupd/internal/targets/s3/s3test"
	"github.com/backupd/backupd/internal/testenv"
)

// stalling gives some of an archive, and then nothing more.
type stalling struct {
	pass http.Handler
	of   string // part of the archive's path

	once sync.Once
	held chan struct{} // closed once it gives nothing more
}

func (s *stalling) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet && strings.Contains(r.URL.Path, s.of) && strings.HasSuffix(r.URL.Path, ".tar.zst") {
		w = &some{ResponseWriter: w, left: 2 << 20, then: func() {
			s.once.Do(func() { close(s.held) })
			<-r.Context().Done()
		}}
	}
	s.pass.ServeHTTP(w, r)
}

// some is so many bytes of an answer.
type some struct {
	http.ResponseWriter
	left int
	then func()
}

func (s *some) Write(p []byte) (int, error) {
	if s.left -= len(p); s.left > 0 {
		return s.ResponseWriter.Write(p)
	}
	if flush, ok := s.ResponseWriter.(http.Flusher); ok {
		flush.Flush()
	}
	s.then()
	return 0, io.ErrClosedPipe
}

// Whatever ends the restore of a project in the middle of a volume: no volume stays half-filled, and the next one goes on with what is lacking.
func TestARestoreOfAProjectThatIsCutOffGoesOn(t *testing.T) {
	testenv.Root(t)
	server := s3test.Start(t)
	for name, end := range map[string]os.Signal{"interrupted": os.Interrupt, "killed": syscall.SIGKILL} {
		t.Run(name, func(t *testing.T) {
			d := testenv.NewDocker(t)
			target := server.WithT(t).Bucket("project-" + name)
			p := newProgram(t, d)
			labels := map[string]string{"com.docker.compose.project": d.Name("shop"), "backupd.enable": "true"}
			volumes := []string{d.Volume("a", labels, nil), d.Volume("b", labels, nil), d.Volume("c", labels, nil)}
			for _, volume := range volumes {
				put(t, d, volume, "first", volume)
				fill(t, filepath.Join(folder(t, d, volume), "large"), 8)
				put(t, d, volume, "last", volume)
			}
			whole := p.with("BACKUPD_TARGETS", "s3="+target.String())
			whole.backup(0, volumes...)
			var before []string
			for _, volume := range volumes {
				before = append(before, whole.exported(volume))
				d.RemoveVolume(volume)
			}

			s := &stalling{of: "/" + volumes[1] + "/", held: make(chan struct{})}
			front := frontIn(t, server, target, func(pass http.Handler) http.Handler { s.pass = pass; return s })
			cut := p.with("BACKUPD_TARGETS", "s3="+front.String()).start("restore", "--project", d.Name("shop"))
			<-s.held
			cut.signal(end)
			if e := cut.wait(); e.code == 0 || end == os.Interrupt && !strings.Contains(e.complaints, "--if-empty") {
				t.Errorf("exit code %d, and it says:\n%s", e.code, e.complaints)
			}
			if got := content(t, d, volumes[0], "last"); got != volumes[0] {
				t.Errorf("the first volume's file holds %q", got)
			}
			if _, err := d.API.VolumeInspect(t.Context(), volumes[1]); (err == nil) != (end == syscall.SIGKILL) {
				t.Errorf("of the second volume: %v", err)
			}
			if _, err := d.API.VolumeInspect(t.Context(), volumes[2]); err == nil {
				t.Error("the third volume is there")
			}

			again := p.with("BACKUPD_TARGETS", "s3="+target.String())
			if e := again.run(0, "restore", "--project", d.Name("shop"), "--if-empty"); !strings.Contains(e.out, "volume "+volumes[0]+" is not empty, and was left alone") {
				t.Errorf("it says %s", e.out)
			}
			again.backup(0, volumes...)
			for i, volume := range volumes {
				if again.exported(volume) != before[i] {
					t.Errorf("volume %s is not what it was", volume)
				}
				if left, err := filepath.Glob(filepath.Join(filepath.Dir(folder(t, d, volume)), "*")); len(left) != 1 || err != nil {
					t.Errorf("beside the volume's content lies %q (%v)", left, err)
				}
			}
		})
	}
}
