package drill

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/backupd/backupd/internal/durable"
	"github.com/backupd/backupd/internal/engine"
)

// What is made for a drill is known by both its name and its label, so that nothing else is ever removed.
const (
	prefix       = "backupd-drill-"
	scratchLabel = "backupd.scratch" // of volumes; package plan knows that nobody means them to be backed up
	kind         = "drill:"          // before the owner
	journalEnd   = ".journal"
)

// cleanupTime is how long removing what was made may take.
const cleanupTime = time.Minute

// roomEngine is where rooms are made and cleared.
type roomEngine interface {
	Info(ctx context.Context) (engine.Info, error)
	Volume(ctx context.Context, name string) (engine.Volume, error)
	CreateVolume(ctx context.Context, v engine.Volume) (engine.Volume, error)
	RemoveVolume(ctx context.Context, name string) error
	Containers(ctx context.Context) ([]engine.Container, error)
	DeleteContainer(ctx context.Context, id string) error
}

// room is what one drill has for itself in the engine: a volume of its name, and containers of names that begin with it. As long as there may be
// anything of it there is its journal, which its process has locked.
type room struct {
	*Runner
	name    string
	path    string
	journal *durable.Log
}

// entry is the only line of a journal.
type entry struct {
	Format string `json:"format"`
	Engine string `json:"engine"`
	Name   string `json:"name"`
}

const journalFormat = "backupd drill 1"

// enter makes a room: nothing of it is in the engine yet, and whatever will be is in its journal.
func (r *Runner) enter(ctx context.Context) (*room, error) {
	info, err := r.Engine.Info(ctx)
	if err != nil {
		return nil, err
	}
	var random [8]byte
	if _, err := io.ReadFull(r.Entropy, random[:]); err != nil {
		return nil, fmt.Errorf("name a scratch volume: %w", err)
	}
	if err := os.MkdirAll(r.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of drills: %w", err)
	}
	where := &room{Runner: r, name: prefix + hex.EncodeToString(random[:])}
	where.path = filepath.Join(r.Dir, where.name+journalEnd)
	if where.journal, err = durable.CreateLog(where.path); err != nil {
		return nil, err
	}
	line, err := json.Marshal(entry{journalFormat, info.ID, where.name})
	if err == nil {
		err = where.journal.Append(line, true)
	}
	if err != nil {
		return nil, errors.Join(err, durable.RemoveLog(where.path, where.journal))
	}
	return where, nil
}

// labels mark what is in a room.
func (w *room) labels() (l struct{ volume, container map[string]string }) {
	l.volume = map[string]string{scratchLabel: kind + w.Owner}
	l.container = map[string]string{engine.HelperLabel: kind + w.Owner}
	return l
}

// leave removes all that is in the room, and then its journal.
func (w *room) leave(ctx context.Context) error {
	if err := w.clear(ctx); err != nil {
		return errors.Join(err, w.journal.Close()) // for Sweep to remove
	}
	return durable.RemoveLog(w.path, w.journal)
}

// clear removes all that is in the room.
func (w *room) clear(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
	defer cancel()
	labels := w.labels()
	containers, err := w.Engine.Containers(ctx)
	if err != nil {
		return err
	}
	for _, c := range containers {
		if strings.HasPrefix(c.Name, w.name) && c.Labels[engine.HelperLabel] == labels.container[engine.HelperLabel] {
			if err := w.Engine.DeleteContainer(ctx, c.ID); err != nil && !errors.Is(err, engine.ErrNotFound) {
				return err
			}
		}
	}
	v, err := w.Engine.Volume(ctx, w.name)
	if err == nil && v.Labels[scratchLabel] == labels.volume[scratchLabel] {
		err = w.Engine.RemoveVolume(ctx, w.name)
	}
	if errors.Is(err, engine.ErrNotFound) {
		return nil
	}
	return err
}

// Pending tells whether there are drills in the folder, that go on or were killed. It asks no engine.
func Pending(dir string) (bool, error) {
	all, err := durable.Logs(dir, journalEnd)
	return len(all) > 0, err
}

// Sweep removes what drills have left that were killed. Those that go on are left alone.
func (r *Runner) Sweep(ctx context.Context) error {
	paths, err := durable.Logs(r.Dir, journalEnd)
	if err != nil || len(paths) == 0 {
		return err
	}
	errs := []error{durable.SweepLogs(r.Dir, r.Now())}
	for _, path := range paths {
		errs = append(errs, r.sweepOne(ctx, path))
	}
	return errors.Join(errs...)
}

func (r *Runner) sweepOne(ctx context.Context, path string) error {
	log, lines, err := durable.TakeLog(path, 1<<10)
	if errors.Is(err, durable.ErrLocked) || errors.Is(err, fs.ErrNotExist) { // its process lives, or it is done
		return nil
	}
	if err != nil {
		return err
	}
	left := &room{Runner: r, path: path, journal: log}
	if len(lines) == 0 { // it had made nothing yet
		return durable.RemoveLog(path, log)
	}
	if left.name, err = r.named(ctx, path, lines[0]); err != nil {
		return errors.Join(fmt.Errorf("journal of a drill %s: %w", path, err), log.Close())
	}
	if err := left.leave(ctx); err != nil {
		return fmt.Errorf("remove what drill %s has left: %w", left.name, err)
	}
	r.Log.Info("removed what a killed drill had left", "name", left.name)
	return nil
}

// named gives the name that a journal is of, which has to be its own, and of this engine.
func (r *Runner) named(ctx context.Context, path string, line []byte) (string, error) {
	var e entry
	if err := json.Unmarshal(line, &e); err != nil {
		return "", err
	}
	info, err := r.Engine.Info(ctx)
	switch {
	case err != nil:
		return "", err
	case e.Format != journalFormat || e.Name+journalEnd != filepath.Base(path):
		return "", errors.New("it is none that this program has written: remove it if you know what it is")
	case e.Engine != info.ID:
		return "", fmt.Errorf("it is of another engine (%q): run \"backupd recover\" with the DOCKER_HOST of that engine", e.Engine)
	}
	return e.Name, nil
}
