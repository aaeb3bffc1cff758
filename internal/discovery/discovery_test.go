package discovery_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backupd/backupd/internal/discovery"
	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/engine/dir"
	"github.com/backupd/backupd/internal/engine/enginetest"
	"github.com/backupd/backupd/internal/ledger"
	"github.com/backupd/backupd/internal/plan"
	"github.com/backupd/backupd/internal/quiesce"
)

type labels = map[string]string

var (
	enabled  = labels{"backupd.enable": "true"}
	disabled = labels{"backupd.enable": "false"}
)

// world is an engine and a state directory. The finder is that of one run of the program.
type world struct {
	t         *testing.T
	eng       *enginetest.Fake
	state     string
	overrides string // text of the file
	finder    *discovery.Finder
	log       bytes.Buffer
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, eng: enginetest.New(t), state: t.TempDir()}
	w.restart()
	return w
}

// restart makes a finder that knows no more than the state directory does.
func (w *world) restart() {
	w.t.Helper()
	l, aside, err := ledger.Open(w.state, rand.Reader)
	if err != nil || aside != nil {
		w.t.Fatal(err, aside)
	}
	w.finder = &discovery.Finder{
		Engine: w.eng, Ledger: l, Targets: []string{"near"},
		Overrides: func() (plan.Overrides, error) { return plan.ParseOverrides([]byte(w.overrides)) },
		Log:       slog.New(slog.NewTextHandler(&w.log, nil)),
	}
	w.finder.Defaults.Targets.Value = []string{"near"}
}

func (w *world) container(name, volume string, l labels) engine.Container {
	c := engine.Container{Name: name, Labels: l, Mounts: []engine.Mount{{Volume: volume, Destination: "/data"}}}
	return w.eng.AddContainer(enginetest.Container{Container: c})
}

func (w *world) volumes() []plan.Volume {
	w.t.Helper()
	volumes, err := w.finder.Volumes(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return volumes
}

// want says which volumes are enrolled, as "name: by what".
func (w *world) want(enrolled ...string) {
	w.t.Helper()
	got := []string{}
	for _, v := range w.volumes() {
		got = append(got, v.Name+": "+v.Enrolled.String())
	}
	if diff := cmp.Diff(append([]string{}, enrolled...), got); diff != "" {
		w.t.Error("enrolled (-want +got):\n" + diff)
	}
}

func TestLabelsEnrol(t *testing.T) {
	w := newWorld(t)
	w.eng.AddVolume(engine.Volume{Name: "by-itself", Labels: enabled})
	w.eng.AddVolume(engine.Volume{Name: "by-container"})
	w.eng.AddVolume(engine.Volume{Name: "by-nobody"})
	w.eng.AddVolume(engine.Volume{Name: "not", Labels: disabled})
	w.container("web", "by-container", enabled)
	w.container("db", "not", enabled)
	w.want("by-container: label of container web", "by-itself: label of the volume")
}

func TestEnrolmentOutlivesTheContainerAndARestart(t *testing.T) {
	w := newWorld(t)
	w.eng.AddVolume(engine.Volume{Name: "app"})
	c := w.container("web", "app", labels{"backupd.enable": "true", "backupd.schedule": "@hourly"})
	w.want("app: label of container web")
	w.eng.RemoveContainer(c.ID)
	w.want("app: label of container web (gone)")
	w.restart()
	w.want("app: label of container web (gone)")
	if got := w.volumes()[0].Schedule.Value.String(); got != "@hourly" {
		t.Errorf("the schedule is %q now, want that of the container's label", got)
	}
}

func TestALabelThatSaysFalseEndsEnrolment(t *testing.T) {
	w := newWorld(t)
	w.eng.AddVolume(engine.Volume{Name: "app"})
	old := w.container("web", "app", enabled)
	w.want("app: label of container web")
	w.eng.RemoveContainer(old.ID)
	again := w.container("web", "app", disabled)
	w.want()
	w.eng.RemoveContainer(again.ID)
	w.want()
}

func TestAVolumeThatIsGoneIsForgotten(t *testing.T) {
	w := newWorld(t)
	w.eng.AddVolume(engine.Volume{Name: "app"})
	w.eng.AddVolume(engine.Volume{Name: "another"})
	c := w.container("web", "app", enabled)
	w.want("app: label of container web")
	w.eng.RemoveContainer(c.ID)
	if err := w.eng.RemoveVolume(t.Context(), "app"); err != nil {
		t.Fatal(err)
	}
	w.want()
	w.eng.AddVolume(engine.Volume{Name: "app"}) // another one, of the same name
	w.want()
}

func TestAnEngineWithoutVolumesIsNoReasonToForget(t *testing.T) {
	w := newWorld(t)
	w.eng.AddVolume(engine.Volume{Name: "app"})
	c := w.container("web", "app", enabled)
	w.want("app: label of container web")
	w.eng.RemoveContainer(c.ID)
	if err := w.eng.RemoveVolume(t.Context(), "app"); err != nil {
		t.Fatal(err)
	}
	w.want()
	w.eng.AddVolume(engine.Volume{Name: "app"})
	w.want("app: label of container web (gone)")
}

func TestOverridesAreReadAnew(t *testing.T) {
	w := newWorld(t)
	w.eng.AddVolume(engine.Volume{Name: "app"})
	w.want()
	w.overrides = "[app]\nbackupd.enable = true\n"
	w.want("app: overrides file")
	w.overrides = "[app]\nbackupd.enable = perhaps\n"
	if problems := w.volumes()[0].Problems; len(problems) != 1 {
		t.Errorf("problems: %v, want one", problems)
	}
	w.overrides = "nonsense"
	if _, err := w.finder.Volumes(t.Context()); err == nil {
		t.Error("a file that cannot be read is no error")
	}
	w.overrides = ""
	w.want()
}

func TestOverridesForNoVolumeAreToldOnce(t *testing.T) {
	w := newWorld(t)
	w.eng.AddVolume(engine.Volume{Name: "app"})
	w.overrides = "[app]\nbackupd.enable = true\n[apq%0A]\nbackupd.enable = true\n"
	told := func() int { return strings.Count(w.log.String(), `volume="apq\n"`) }
	for range 3 {
		w.volumes()
	}
	if n := told(); n != 1 {
		t.Errorf("told %d times, want once: %s", n, w.log.String())
	}
	w.eng.AddVolume(engine.Volume{Name: "apq\n"})
	w.want("app: overrides file", "apq\n: overrides file")
	if err := w.eng.RemoveVolume(t.Context(), "apq\n"); err != nil {
		t.Fatal(err)
	}
	w.volumes()
	if n := told(); n != 2 {
		t.Errorf("told %d times, want once more when the volume has gone", n)
	}
}

func TestTheDirSourceEnrolsAllItsFolders(t *testing.T) {
	w := newWorld(t)
	root := t.TempDir()
	for _, name := range []string{"app", "two\nlines"} {
		if err := os.Mkdir(filepath.Join(root, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	source, err := dir.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	w.finder.Engine, w.finder.All = source, true
	w.finder.Defaults.Quiesce.Value = quiesce.None
	w.want("app: dir source", "two\nlines: dir source")
	w.overrides = "[app]\nbackupd.enable = false\n"
	w.want("two\nlines: dir source")
}

func TestAnEngineThatFailsLosesNothingOfWhatIsRemembered(t *testing.T) {
	w := newWorld(t)
	w.eng.AddVolume(engine.Volume{Name: "app"})
	c := w.container("web", "app", enabled)
	w.want("app: label of container web")
	w.eng.RemoveContainer(c.ID)
	w.eng.Down()
	if _, err := w.finder.Volumes(t.Context()); !errors.Is(err, engine.ErrUnreachable) {
		t.Errorf("error is %v, want %v", err, engine.ErrUnreachable)
	}
	w.eng.Up()
	w.finder.Engine = torn{w.eng}
	if _, err := w.finder.Volumes(t.Context()); !errors.Is(err, engine.ErrUnreachable) {
		t.Errorf("error is %v, want %v", err, engine.ErrUnreachable)
	}
	w.finder.Engine = w.eng
	w.want("app: label of container web (gone)")
}

// torn is an engine that goes away between two calls.
type torn struct{ *enginetest.Fake }

func (torn) Containers(context.Context) ([]engine.Container, error) {
	return nil, engine.ErrUnreachable
}

func TestNothingIsWrittenWhereNothingIsNew(t *testing.T) {
	w := newWorld(t)
	w.eng.AddVolume(engine.Volume{Name: "app"})
	w.container("web", "app", enabled)
	w.volumes()
	path := filepath.Join(w.state, "ledger.json")
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	w.volumes()
	if after, err := os.Stat(path); err != nil || !os.SameFile(before, after) {
		t.Errorf("the ledger was written again (%v)", err)
	}
}
