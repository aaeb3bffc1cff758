package restore_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/google/go-cmp/cmp"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/folder"
	"github.com/backupd/backupd/internal/restore"
	"github.com/backupd/backupd/internal/seal"
	"github.com/backupd/backupd/internal/snapshot"
)

// container is one that runs, by its name.
func container(name string) engine.Container {
	return engine.Container{Name: name, Labels: map[string]string{}}
}

func TestAVolumeIsMadeAsItWas(t *testing.T) {
	for name, c := range map[string]struct {
		recorded, given map[string]string
		withheld        []string
		want            map[string]string
		missing         string // what the error asks for
	}{
		"without options":      {want: map[string]string{}},
		"with options":         {recorded: map[string]string{"size": "1G"}, want: map[string]string{"size": "1G"}},
		"one is changed":       {recorded: map[string]string{"device": "/old"}, given: map[string]string{"device": "/new"}, want: map[string]string{"device": "/new"}},
		"a credential is lost": {withheld: []string{"o.password", "token"}, missing: "--option o.password=... --option token=..."},
		"a credential is given": {
			recorded: map[string]string{"o": "vers=3.0"}, withheld: []string{"o.password", "o.username"},
			given: map[string]string{"o.password": "a=b,c", "o.username": "joe"},
			want:  map[string]string{"o": "vers=3.0,password=a=b,c,username=joe"},
		},
		"nothing but credentials": {withheld: []string{"o.password"}, given: map[string]string{"o.password": "x"}, want: map[string]string{"o": "password=x"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.request.Snapshot.Restore.Options, w.request.Snapshot.Restore.Withheld = c.recorded, c.withheld
			_, err := w.runner.ToVolume(t.Context(), w.request, "again", c.given)
			v, lookErr := w.eng.Volume(t.Context(), "again")
			if c.missing != "" {
				if err == nil || !strings.Contains(err.Error(), c.missing) || !strings.Contains(err.Error(), `"again"`) || lookErr == nil {
					t.Errorf("error is %v, and the volume %v", err, v)
				}
				return
			}
			must(t, err)
			must(t, lookErr)
			want := engine.Volume{Name: "again", Driver: "local", Options: c.want, Labels: map[string]string{"tier": "one"}, Mountpoint: v.Mountpoint}
			if diff := cmp.Diff(want, v); diff != "" {
				t.Errorf("volume (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(look(t, w.source), look(t, v.Mountpoint)); diff != "" {
				t.Errorf("content (-want +got):\n%s", diff)
			}
		})
	}
}

// With a key nothing is withheld; without one no volume is made.
func TestAVolumeOfAnEncryptedSnapshotIsMadeAsItWas(t *testing.T) {
	w := newWorld(t)
	key, err := age.GenerateX25519Identity()
	must(t, err)
	file := filepath.Join(t.TempDir(), "key")
	must(t, os.WriteFile(file, []byte(key.String()), 0o600))
	var sealed bytes.Buffer
	out, err := age.Encrypt(&sealed, key.Recipient())
	must(t, err)
	_, err = io.WriteString(out, `{"driver": "local", "options": {"o": "password=x"}}`)
	must(t, errors.Join(err, out.Close()))
	w.request.Snapshot.Restore = snapshot.Restore{Sealed: sealed.Bytes()}

	_, err = w.runner.ToVolume(t.Context(), w.request, "again", nil)
	if _, looking := w.eng.Volume(t.Context(), "again"); !errors.Is(err, seal.ErrLocked) || looking == nil {
		t.Errorf("error is %v, and there may be a volume (%v)", err, looking)
	}
	w.request.From = w.request.From.WithKeys(seal.KeysIn(file, nil))
	_, err = w.runner.ToVolume(t.Context(), w.request, "again", nil)
	must(t, err)
	if v, err := w.eng.Volume(t.Context(), "again"); err != nil || v.Options["o"] != "password=x" {
		t.Errorf("the volume is %+v (%v)", v, err)
	}
}

func TestIntoAVolumeThatExists(t *testing.T) {
	busy := func(w *world) { w.container("app", container("db"), false) }
	for name, c := range map[string]struct {
		holds   tree
		around  func(*world)
		ifEmpty bool
		want    string // in the error; "" is restored
		left    bool
	}{
		"empty and unused":                       {holds: tree{}},
		"in use by what does not run":            {holds: tree{}, around: func(w *world) { w.container("app", exited("db"), false) }},
		"in use by what restores":                {holds: tree{}, around: func(w *world) { w.runner.Self = w.container("app", container("self"), true).ID[:12] }},
		"in use":                                 {holds: tree{}, around: busy, want: "container db runs on volume"},
		"in use by what only reads":              {holds: tree{}, around: func(w *world) { w.container("app", container("web"), true) }, want: "container web"},
		"empty, in use, if empty":                {holds: tree{}, around: busy, ifEmpty: true, want: "container db runs on volume"},
		"holding something":                      {holds: tree{"f": "mine"}, want: `volume "app" is not empty`},
		"holding something, if empty":            {holds: tree{"f": "mine"}, ifEmpty: true, left: true},
		"holding something and in use, if empty": {holds: tree{"f": "mine"}, around: busy, ifEmpty: true, left: true},
		"empty, if empty":                        {holds: tree{}, ifEmpty: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			v := w.volume(t, "app", c.holds)
			if c.around != nil {
				c.around(w)
			}
			w.request.IfEmpty = c.ifEmpty
			before := look(t, v.Mountpoint)
			result, err := w.runner.ToVolume(t.Context(), w.request, "app", nil)
			want := before
			switch {
			case c.want != "":
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("error is %v", err)
				}
			case err != nil || result.Left != c.left:
				t.Errorf("left alone: %v, error: %v", result.Left, err)
			case !c.left:
				want = look(t, w.source)
			}
			if diff := cmp.Diff(want, look(t, v.Mountpoint)); diff != "" {
				t.Errorf("content (-want +got):\n%s", diff)
			}
		})
	}
}

func exited(name string) engine.Container { return engine.Container{Name: name, State: engine.Exited} }

// grabby is an engine on which somebody else makes each volume, and fills it, just before we do.
type grabby struct {
	restore.Engine
	fill func(engine.Volume)
}

func (g grabby) CreateVolume(ctx context.Context, v engine.Volume) (engine.Volume, error) {
	made, err := g.Engine.CreateVolume(ctx, v)
	g.fill(made)
	return made, err
}

func TestAVolumeThatSomebodyElseMadeMeanwhileIsNotRemoved(t *testing.T) {
	w := newWorld(t)
	w.runner.Engine = grabby{w.eng, func(v engine.Volume) { plant(t, v.Mountpoint, tree{"theirs": "1"}) }}
	if _, err := w.runner.ToVolume(t.Context(), w.request, "fresh", nil); !errors.Is(err, restore.ErrNotEmpty) {
		t.Errorf("error is %v", err)
	}
	if v, err := w.eng.Volume(t.Context(), "fresh"); err != nil || lookEmpty(t, v.Mountpoint) {
		t.Errorf("it was taken away (%v)", err)
	}
}

func TestWhatThereIsOfAVolumeIsSeenBefore(t *testing.T) {
	for name, c := range map[string]struct {
		around func(*testing.T, *world)
		want   restore.Place
		fails  string
	}{
		"absent":            {want: restore.Absent},
		"absent, no option": {around: func(_ *testing.T, w *world) { w.request.Snapshot.Restore.Withheld = []string{"token"} }, want: restore.Absent, fails: "--option token=..."},
		"in memory, absent": {around: func(_ *testing.T, w *world) {
			w.request.Snapshot.Restore.Options = map[string]string{"type": "tmpfs"}
		}, want: restore.InMemory},
		"in memory": {around: func(_ *testing.T, w *world) {
			w.eng.AddVolume(engine.Volume{Name: "app", Driver: "local", Options: map[string]string{"type": "tmpfs"}})
		}, want: restore.InMemory},
		"empty":  {around: func(t *testing.T, w *world) { w.volume(t, "app", nil) }, want: restore.Empty},
		"filled": {around: func(t *testing.T, w *world) { w.volume(t, "app", tree{"f": "mine"}) }, want: restore.Filled},
		"in use": {around: func(t *testing.T, w *world) {
			w.volume(t, "app", nil)
			w.container("app", container("db"), false)
		}, want: restore.Empty, fails: "container db runs on volume"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if c.around != nil {
				c.around(t, w)
			}
			there, err := w.runner.Look(t.Context(), w.request, "app")
			if there != c.want || (err != nil) != (c.fails != "") || err != nil && !strings.Contains(err.Error(), c.fails) {
				t.Errorf("it is %s, and error is %v", there, err)
			}
			if _, err := w.eng.Volume(t.Context(), "app"); (err == nil) != (c.want != restore.Absent && !strings.HasSuffix(name, "absent")) {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

// A restore that was killed at its very end has left a volume that is whole, for whoever comes next.
func TestAVolumeThatAKilledRestoreWasFillingIsNotHalfFilled(t *testing.T) {
	w := newWorld(t)
	v := w.volume(t, "app", tree{"old": ""})
	w.then = restore.After{}
	result, err := w.inPlace(t, v)
	must(t, err)
	must(t, os.Rename(result.Kept, strings.Replace(result.Kept, "replaced", "exchange", 1)))

	db := w.container("app", container("db"), false)
	if there, err := w.runner.Look(t.Context(), w.request, "app"); there != restore.Filled || err != nil {
		t.Errorf("before, it is %s (%v)", there, err)
	}
	w.request.IfEmpty = true
	if _, err := w.runner.ToVolume(t.Context(), w.request, "app", nil); err == nil || !strings.Contains(err.Error(), "container db runs on volume") {
		t.Errorf("while it is in use: %v", err)
	}
	must(t, w.eng.Operator().DeleteContainer(t.Context(), db.ID))
	result, err = w.runner.ToVolume(t.Context(), w.request, "app", nil)
	if err != nil || !result.Left {
		t.Errorf("left alone: %v, %v", result.Left, err)
	}
	if diff := cmp.Diff(look(t, w.source), look(t, v.Mountpoint)); diff != "" {
		t.Errorf("content (-want +got):\n%s", diff)
	}
	if settled, err := folder.At(v.Mountpoint, true).Settle(t.Context()); settled || err != nil {
		t.Errorf("there was more to settle: %v, %v", settled, err)
	}
}
