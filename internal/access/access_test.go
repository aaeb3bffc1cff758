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

func newPaths(eng ProofEngine) *paths { return &paths{eng: eng, entropy: entropy("seed")} }

func TestWhichVolumesAreFoldersOfThisHost(t *testing.T) {
	eng, local := newEngine(t)
	root := filepath.Dir(filepath.Dir(local.Mountpoint))
	withOptions := eng.AddVolume(engine.Volume{Name: "nfs share", Driver: "local", Options: map[string]string{"type": "nfs"}})
	gone := engine.Volume{Name: "gone", Driver: "local", Mountpoint: filepath.Join(root, "gone", "_data")}
	file := eng.AddVolume(engine.Volume{Name: "file", Driver: "local"})
	if err := errors.Join(os.Remove(file.Mountpoint), os.WriteFile(file.Mountpoint, nil, 0o600)); err != nil {
		t.Fatal(err)
	}

	for name, tt := range map[string]struct {
		volume    engine.Volume
		elsewhere bool
		err       string
	}{
		"of the local driver":                   {volume: local},
		"with options":                          {volume: withOptions, elsewhere: true, err: "only while a container uses it"},
		"without folder":                        {volume: gone, err: "no such file"},
		"a file":                                {volume: file, err: "it is no folder"},
		"of another driver":                     {volume: engine.Volume{Name: "x", Driver: "rexray", Mountpoint: "/etc"}, elsewhere: true, err: "only while"},
		"that claims a path outside":            {volume: engine.Volume{Name: "x", Driver: "local", Mountpoint: root + "/../other"}, elsewhere: true, err: "outside"},
		"that claims the folder of all volumes": {volume: engine.Volume{Name: "x", Driver: "local", Mountpoint: root + "/."}, elsewhere: true, err: "outside"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, err := newPaths(eng).find(t.Context(), tt.volume, true)
			switch {
			case tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)):
				t.Errorf("path %q, error %v, want one with %q", dir, err, tt.err)
			case tt.err == "" && (err != nil || dir != tt.volume.Mountpoint):
				t.Errorf("path %q, error %v, want %q", dir, err, tt.volume.Mountpoint)
			case errors.As(err, new(elsewhereError)) != tt.elsewhere:
				t.Errorf("error %v, elsewhere: %t", err, !tt.elsewhere)
			}
		})
	}
}

// The same path on this host is no proof: the folder of an engine elsewhere may be there too, with other data.
func TestEngineOnAnotherHost(t *testing.T) {
	eng, v := newEngine(t)
	eng.Faults = &faulttest.Injector{}
	p := newPaths(abroad{eng})
	for range 2 {
		_, err := p.find(t.Context(), v, false)
		if !errors.As(err, new(elsewhereError)) || !strings.Contains(err.Error(), "does not show in /srv/docker/volumes") {
			t.Errorf("error %v", err)
		}
	}
	if diff := cmp.Diff([]string{"data"}, names(t, eng)); diff != "" {
		t.Error(diff)
	}
	if n := len(eng.Faults.Calls()); n != 7 { // one sweep, and three times two
		t.Errorf("%d calls: it was asked again", n)
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
	if dir, err := newPaths(swept).find(t.Context(), v, false); err != nil || dir != v.Mountpoint || !swept.done {
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
	p := newPaths(eng)
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if _, err := p.find(t.Context(), v, false); err != nil {
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
				p := newPaths(eng)
				_, err := p.find(ctx, v, false)
				cutOff := at == 3 && kind == faulttest.Cancel // removing outlives the context
				if cutOff != (err == nil) {
					t.Errorf("error %v", err)
				}
				if dir, err := p.find(t.Context(), v, false); err != nil || dir != v.Mountpoint {
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
	if _, err := newPaths(eng).find(t.Context(), v, false); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"backupd-scratch-mine", "data", "other"}, names(t, eng)); diff != "" {
		t.Error(diff)
	}
}

func TestDirect(t *testing.T) {
	dir := t.TempDir()
	f, err := Direct{}.Reader(t.Context(), engine.Volume{Name: "data", Mountpoint: dir})
	if err != nil {
		t.Fatal(err)
	}
	if empty, err := f.Empty(t.Context()); err != nil || !empty {
		t.Errorf("empty %t, error %v", empty, err)
	}
	_, err = Direct{}.Writer(t.Context(), engine.Volume{Name: "data", Mountpoint: filepath.Join(dir, "gone")})
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), `volume "data"`) {
		t.Errorf("error %v", err)
	}
}
