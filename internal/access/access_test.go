package access

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/engine/enginetest"
	"github.com/backupd/backupd/internal/faulttest"
)

// newEngine gives an engine with one volume.
func newEngine(t *testing.T) (*enginetest.Fake, engine.Volume) {
	eng := enginetest.New(t)
	return eng, eng.AddVolume(engine.Volume{Name: "data", Driver: "local"})
}

// names are those of all volumes of the engine.
func names(t *testing.T, eng *enginetest.Fake) (names []string) {
	t.Helper()
	volumes, err := eng.Operator().Volumes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range volumes {
		names = append(names, v.Name)
	}
	return names
}

// entropy gives the same bytes again and again.
type entropy string

func (e entropy) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = e[i%len(e)]
	}
	return len(p), nil
}

func TestPath(t *testing.T) {
	eng, local := newEngine(t)
	root := filepath.Dir(filepath.Dir(local.Mountpoint))
	withOptions := eng.AddVolume(engine.Volume{Name: "nfs share", Driver: "local", Options: map[string]string{"type": "nfs"}})
	mounted := eng.AddVolume(engine.Volume{Name: "a b\\\n", Driver: "local", Options: map[string]string{"type": "tmpfs"}})
	gone := engine.Volume{Name: "gone", Driver: "local", Mountpoint: filepath.Join(root, "gone", "_data")}
	file := eng.AddVolume(engine.Volume{Name: "file", Driver: "local"})
	if err := errors.Join(os.Remove(file.Mountpoint), os.WriteFile(file.Mountpoint, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	linked := eng.AddVolume(engine.Volume{Name: "linked", Driver: "local", Options: map[string]string{"o": "bind"}})
	if err := errors.Join(os.Remove(linked.Mountpoint), os.Symlink(mounted.Mountpoint, linked.Mountpoint)); err != nil {
		t.Fatal(err)
	}
	table := filepath.Join(t.TempDir(), "mountinfo")
	lines := "1 0 8:1 / / rw - ext4 /dev/sda rw\ngarbage\n36 1 0:40 / " + escape(mounted.Mountpoint) + " rw shared:5 - tmpfs tmpfs rw\n" +
		"37 1 0:41 / " + escape(withOptions.Mountpoint) + "/inside rw - tmpfs tmpfs rw\n"
	if err := os.WriteFile(table, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}

	for name, tt := range map[string]struct {
		volume engine.Volume
		err    string
	}{
		"of the local driver":                   {volume: local},
		"with options, mounted":                 {volume: mounted},
		"with options, mounted through a link":  {volume: linked},
		"with options, not mounted":             {volume: withOptions, err: "keep such a container running"},
		"without folder":                        {volume: gone, err: "no such file"},
		"a file":                                {volume: file, err: "it is no folder"},
		"of another driver, elsewhere":          {volume: engine.Volume{Name: "x", Driver: "rexray", Mountpoint: "/etc"}, err: `driver "rexray" keeps it at "/etc"`},
		"of another driver, nowhere":            {volume: engine.Volume{Name: "x", Driver: "rexray"}, err: "outside of the engine's own volumes"},
		"that claims a path outside":            {volume: engine.Volume{Name: "x", Driver: "local", Mountpoint: root + "/../other"}, err: "outside"},
		"that claims the folder of all volumes": {volume: engine.Volume{Name: "x", Driver: "local", Mountpoint: root + "/."}, err: "outside"},
	} {
		t.Run(name, func(t *testing.T) {
			p := NewProven(eng, entropy("seed"))
			p.mountTable = table
			dir, err := p.Path(t.Context(), tt.volume)
			switch {
			case tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)):
				t.Errorf("path %q, error %v, want one with %q", dir, err, tt.err)
			case tt.err == "" && (err != nil || dir != tt.volume.Mountpoint):
				t.Errorf("path %q, error %v, want %q", dir, err, tt.volume.Mountpoint)
			}
		})
	}
}

// The same path on this host is no proof: the folder of an engine elsewhere may be there too, with other data.
func TestEngineOnAnotherHost(t *testing.T) {
	eng, v := newEngine(t)
	_, err := NewProven(abroad{eng}, entropy("seed")).Path(t.Context(), v)
	if err == nil || !strings.Contains(err.Error(), "give it -v /srv/docker/volumes:/srv/docker/volumes:ro") {
		t.Errorf("error %v", err)
	}
	if diff := cmp.Diff([]string{"data"}, names(t, eng)); diff != "" {
		t.Error(diff)
	}
}

type abroad struct{ *enginetest.Fake }

func (a abroad) CreateVolume(ctx context.Context, v engine.Volume) (engine.Volume, error) {
	v, err := a.Fake.CreateVolume(ctx, v)
	v.Mountpoint = filepath.Join("/srv/docker/volumes", v.Name, "_data")
	return v, err
}

// Another backupd that starts at the same time takes the scratch volume for one that was left behind.
func TestProofThatAnotherSweepsAway(t *testing.T) {
	eng, v := newEngine(t)
	swept := &sweptOnce{Fake: eng}
	if dir, err := NewProven(swept, entropy("seed")).Path(t.Context(), v); err != nil || dir != v.Mountpoint || !swept.done {
		t.Errorf("path %q, error %v", dir, err)
	}
}

type sweptOnce struct {
	*enginetest.Fake
	done bool
}

func (s *sweptOnce) CreateVolume(ctx context.Context, v engine.Volume) (engine.Volume, error) {
	v, err := s.Fake.CreateVolume(ctx, v)
	if err == nil && !s.done {
		s.done = true
		err = s.RemoveVolume(ctx, v.Name)
	}
	return v, err
}

func TestProofIsMadeOnce(t *testing.T) {
	eng, v := newEngine(t)
	eng.Faults = &faulttest.Injector{}
	p := NewProven(eng, entropy("seed"))
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if _, err := p.Path(t.Context(), v); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if diff := cmp.Diff(3, len(eng.Faults.Calls())); diff != "" {
		t.Error(diff)
	}
}

// Whatever fails, a path is given or an error, the next try succeeds, and then no scratch volume is left.
func TestProofAfterAnyFault(t *testing.T) {
	for at := 1; at <= 3; at++ {
		for _, kind := range faulttest.Kinds {
			t.Run(fmt.Sprintf("call %d fails %s", at, kind), func(t *testing.T) {
				eng, v := newEngine(t)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				eng.Faults = &faulttest.Injector{At: at, Kind: kind, Cancel: cancel}
				p := NewProven(eng, entropy("seed"))
				_, err := p.Path(ctx, v)
				cutOff := at == 3 && kind == faulttest.Cancel // removing outlives the context
				if cutOff != (err == nil) {
					t.Errorf("error %v", err)
				}
				if dir, err := p.Path(t.Context(), v); err != nil || dir != v.Mountpoint {
					t.Errorf("then path %q, error %v", dir, err)
				}
				if diff := cmp.Diff([]string{"data"}, names(t, eng)); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

// Scratch volumes of a probe that was killed go; what only looks like one stays.
func TestOldScratchVolumes(t *testing.T) {
	eng, v := newEngine(t)
	scratch := map[string]string{scratchLabel: scratchKind}
	eng.AddVolume(engine.Volume{Name: "backupd-scratch-0123", Driver: "local", Labels: scratch})
	eng.AddVolume(engine.Volume{Name: "backupd-scratch-mine", Driver: "local"})
	eng.AddVolume(engine.Volume{Name: "other", Driver: "local", Labels: scratch})
	if _, err := NewProven(eng, entropy("seed")).Path(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"backupd-scratch-mine", "data", "other"}, names(t, eng)); diff != "" {
		t.Error(diff)
	}
}

func TestDirect(t *testing.T) {
	dir := t.TempDir()
	got, err := Direct{}.Path(t.Context(), engine.Volume{Name: "data", Mountpoint: dir})
	if err != nil || got != dir {
		t.Errorf("path %q, error %v", got, err)
	}
	_, err = Direct{}.Path(t.Context(), engine.Volume{Name: "data", Mountpoint: filepath.Join(dir, "gone")})
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), `volume "data"`) {
		t.Errorf("error %v", err)
	}
}
