package access

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/faulttest"
)

// volumes is an engine whose volumes are folders below root; one below elsewhere shows on another host.
type volumes struct {
	root, elsewhere string
	faults          *faulttest.Injector

	mu  sync.Mutex
	all map[string]engine.Volume
}

func newVolumes(t *testing.T) *volumes {
	root := filepath.Join(t.TempDir(), "volumes")
	return &volumes{root: root, elsewhere: root, all: make(map[string]engine.Volume)}
}

func (e *volumes) Volumes(ctx context.Context) (all []engine.Volume, err error) {
	err = e.faults.Call(ctx, "list", func() error {
		e.mu.Lock()
		defer e.mu.Unlock()
		all = slices.Collect(maps.Values(e.all))
		return nil
	})
	return all, err
}

func (e *volumes) CreateVolume(ctx context.Context, v engine.Volume) (engine.Volume, error) {
	v.Mountpoint = filepath.Join(e.root, v.Name, "_data")
	err := e.faults.Call(ctx, "create", func() error {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.all[v.Name] = v
		return os.MkdirAll(filepath.Join(e.elsewhere, v.Name, "_data"), 0o755)
	})
	if err != nil {
		return engine.Volume{}, err
	}
	return v, nil
}

func (e *volumes) RemoveVolume(ctx context.Context, name string) error {
	return e.faults.Call(ctx, "remove", func() error {
		e.mu.Lock()
		defer e.mu.Unlock()
		if _, ok := e.all[name]; !ok {
			return fmt.Errorf("volume %s: %w", name, engine.ErrNotFound)
		}
		delete(e.all, name)
		return os.RemoveAll(filepath.Join(e.elsewhere, name))
	})
}

func (e *volumes) names() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Sorted(maps.Keys(e.all))
}

// make gives a volume of the engine.
func (e *volumes) make(t *testing.T, v engine.Volume) engine.Volume {
	t.Helper()
	v, err := e.CreateVolume(t.Context(), v)
	if err != nil {
		t.Fatal(err)
	}
	return v
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
	eng := newVolumes(t)
	local := eng.make(t, engine.Volume{Name: "data", Driver: "local"})
	withOptions := eng.make(t, engine.Volume{Name: "nfs share", Driver: "local", Options: map[string]string{"type": "nfs"}})
	mounted := eng.make(t, engine.Volume{Name: "a b\\\n", Driver: "local", Options: map[string]string{"type": "tmpfs"}})
	gone := engine.Volume{Name: "gone", Driver: "local", Mountpoint: filepath.Join(eng.root, "gone", "_data")}
	file := eng.make(t, engine.Volume{Name: "file", Driver: "local"})
	if err := errors.Join(os.Remove(file.Mountpoint), os.WriteFile(file.Mountpoint, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	linked := eng.make(t, engine.Volume{Name: "linked", Driver: "local", Options: map[string]string{"o": "bind"}})
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
		"that claims a path outside":            {volume: engine.Volume{Name: "x", Driver: "local", Mountpoint: eng.root + "/../other"}, err: "outside"},
		"that claims the folder of all volumes": {volume: engine.Volume{Name: "x", Driver: "local", Mountpoint: eng.root + "/."}, err: "outside"},
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
	eng := newVolumes(t)
	v := eng.make(t, engine.Volume{Name: "data", Driver: "local"})
	eng.elsewhere = t.TempDir()
	_, err := NewProven(eng, entropy("seed")).Path(t.Context(), v)
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("give it -v %s:%[1]s:ro", eng.root)) {
		t.Errorf("error %v", err)
	}
	if diff := cmp.Diff([]string{"data"}, eng.names()); diff != "" {
		t.Error(diff)
	}
}

// Another backupd that starts at the same time takes the scratch volume for one that was left behind.
func TestProofThatAnotherSweepsAway(t *testing.T) {
	eng := newVolumes(t)
	v := eng.make(t, engine.Volume{Name: "data", Driver: "local"})
	swept := &sweptOnce{volumes: eng}
	if dir, err := NewProven(swept, entropy("seed")).Path(t.Context(), v); err != nil || dir != v.Mountpoint || !swept.done {
		t.Errorf("path %q, error %v", dir, err)
	}
}

type sweptOnce struct {
	*volumes
	done bool
}

func (s *sweptOnce) CreateVolume(ctx context.Context, v engine.Volume) (engine.Volume, error) {
	v, err := s.volumes.CreateVolume(ctx, v)
	if err == nil && !s.done {
		s.done = true
		err = s.RemoveVolume(ctx, v.Name)
	}
	return v, err
}

func TestProofIsMadeOnce(t *testing.T) {
	eng := newVolumes(t)
	v := eng.make(t, engine.Volume{Name: "data", Driver: "local"})
	eng.faults = &faulttest.Injector{}
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
	if diff := cmp.Diff([]string{"list", "create", "remove"}, eng.faults.Calls()); diff != "" {
		t.Error(diff)
	}
}

// Whatever fails, a path is given or an error, the next try succeeds, and then no scratch volume is left.
func TestProofAfterAnyFault(t *testing.T) {
	for at := 1; at <= 3; at++ {
		for _, kind := range faulttest.Kinds {
			t.Run(fmt.Sprintf("call %d fails %s", at, kind), func(t *testing.T) {
				eng := newVolumes(t)
				v := eng.make(t, engine.Volume{Name: "data", Driver: "local"})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				eng.faults = &faulttest.Injector{At: at, Kind: kind, Cancel: cancel}
				p := NewProven(eng, entropy("seed"))
				_, err := p.Path(ctx, v)
				cutOff := at == 3 && kind == faulttest.Cancel // removing outlives the context
				if cutOff != (err == nil) {
					t.Errorf("error %v", err)
				}
				if dir, err := p.Path(t.Context(), v); err != nil || dir != v.Mountpoint {
					t.Errorf("then path %q, error %v", dir, err)
				}
				if diff := cmp.Diff([]string{"data"}, eng.names()); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

// Scratch volumes of a probe that was killed go; what only looks like one stays.
func TestOldScratchVolumes(t *testing.T) {
	eng := newVolumes(t)
	v := eng.make(t, engine.Volume{Name: "data", Driver: "local"})
	scratch := map[string]string{scratchLabel: scratchKind}
	eng.make(t, engine.Volume{Name: "backupd-scratch-0123", Driver: "local", Labels: scratch})
	eng.make(t, engine.Volume{Name: "backupd-scratch-mine", Driver: "local"})
	eng.make(t, engine.Volume{Name: "other", Driver: "local", Labels: scratch})
	if _, err := NewProven(eng, entropy("seed")).Path(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"backupd-scratch-mine", "data", "other"}, eng.names()); diff != "" {
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
