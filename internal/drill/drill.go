// Package drill tries a snapshot out: it restores it into a scratch volume, starts on that what the manifest recorded, walled in, and asks
// the database whether it is content.
//
// One snapshot goes in, and one snapshot.Drill comes out, which is a verdict on the data. What kept a snapshot from being tried out, be it an
// image that is not there or a configuration that the container lacks, is an error and no verdict. All that was made for it is removed, also what a
// drill has left that was killed. How a snapshot is restored, what is recognised in it, and when drills are due, is for others to say.
package drill

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/recognise"
	"github.com/backupd/backupd/internal/snapshot"
)

// Engine is what drills ask of an engine.
type Engine interface {
	roomEngine
	stageEngine
	theatre
}

// Source gives back what a snapshot holds.
type Source interface {
	// Facts is what it takes to make the volume again.
	Facts(m snapshot.Manifest) (snapshot.Restore, error)
	// Databases are those that the snapshot's data is of.
	Databases(ctx context.Context, m snapshot.Manifest) ([]recognise.Find, error)
	// Hold keeps the snapshot from being removed until it is released.
	Hold(ctx context.Context, m snapshot.Manifest) (release func() error, err error)
	// ToVolume restores to an empty volume that there is, and gives the bytes of files.
	ToVolume(ctx context.Context, m snapshot.Manifest, volume string) (bytes int64, err error)
}

// Settings say how snapshots of a volume are tried out.
type Settings struct {
	EnvFile string        // file with values of environment variables, which the container that runs today does not give
	Exec    []string      // command to ask by, instead of what would be asked of the database; nil for none
	Timeout time.Duration // of a drill, all in all
	Memory  int64         // bytes that the container may use at most; what was recorded may be less
}

// The bounds that hold unless somebody says otherwise.
const (
	DefaultTimeout = 10 * time.Minute
	DefaultMemory  = 1 << 30
	mostProcesses  = 4096
)

// Request is one snapshot to try out.
type Request struct {
	Snapshot snapshot.Manifest
	From     Source
	Settings
}

// Runner tries snapshots out.
type Runner struct {
	Engine   Engine
	Dir      string // of the journals of drills
	Owner    string // of what is made for them
	Program  string // name and version, for the record
	ReadFile func(path string) ([]byte, error)
	Now      func() time.Time
	Entropy  io.Reader // for names
	Log      *slog.Logger
	Checker  Checker
	Progress func(step string) // what is about to be done; nil for not to be told
}

// verdict is an error that says why the data is not good.
type verdict string

func (v verdict) Error() string { return string(v) }

// errLate is the end of the time that a drill has.
type errLate time.Duration

func (e errLate) Error() string {
	return fmt.Sprintf("the time for the drill (%s) is over: give it more with --timeout", time.Duration(e))
}

// Drill tries a snapshot out. An error says that it could not be tried, so that nothing is known of it.
func (r *Runner) Drill(ctx context.Context, req Request) (d snapshot.Drill, err error) {
	if err := r.Sweep(ctx); err != nil {
		r.Log.Warn("what an earlier drill has left could not all be removed", "err", err)
	}
	began, m := r.Now(), req.Snapshot
	d = snapshot.Drill{
		Format: snapshot.DrillFormat, Host: m.Host, Volume: m.Volume, ID: m.ID, At: began.UTC(), Program: r.Program,
		Started: []string{}, Checks: []snapshot.Check{},
	}
	limited, cancel := context.WithTimeoutCause(ctx, req.Timeout, errLate(req.Timeout))
	defer cancel()
	err = r.inRoom(limited, func(where *room) error { return r.try(limited, req, where, &d) })
	d.TookMS = r.Now().Sub(began).Milliseconds()
	var bad verdict
	switch {
	case errors.As(err, &bad):
		d.Failed, err = string(bad), nil
	case errors.Is(err, archive.ErrDamaged):
		d.Failed, err = fmt.Sprintf("it cannot be restored: %v", err), nil
	}
	if cause := context.Cause(limited); err != nil && cause != nil && !errors.Is(err, cause) {
		err = cause // whatever it made fail
	}
	if err != nil {
		return snapshot.Drill{}, fmt.Errorf("try out snapshot %s of volume %q: %w", m.ID, m.Volume, err)
	}
	return d, nil
}

// inRoom does something in a new room, of which nothing is left afterwards; should it not be removed it is for Sweep.
func (r *Runner) inRoom(ctx context.Context, do func(*room) error) error {
	where, err := r.enter(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if err := where.leave(ctx); err != nil {
			r.Log.Error("what was made for a drill is not removed yet", "name", where.name, "err", err)
		}
	}()
	return do(where)
}

// try does all of a drill that takes a room.
func (r *Runner) try(ctx context.Context, req Request, where *room, d *snapshot.Drill) error {
	if req.Snapshot.Contents.Empty() {
		return errors.New("it holds nothing, so that there is nothing to try")
	}
	stage, err := r.set(ctx, req)
	if err != nil {
		return err
	}
	if err := r.restore(ctx, req, where, d); err != nil {
		return err
	}
	play := &play{Runner: r, stage: stage, room: where, record: d}
	return play.run(ctx, r.Now())
}

// restore restores to the scratch volume. How long one waits for a backup of the volume to end is not counted.
func (r *Runner) restore(ctx context.Context, req Request, where *room, d *snapshot.Drill) (err error) {
	release, err := req.From.Hold(ctx, req.Snapshot)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	r.step("restoring")
	began, labels := r.Now(), where.labels()
	if _, err := r.Engine.CreateVolume(ctx, engine.Volume{Name: where.name, Driver: "local", Labels: labels.volume}); err != nil {
		return fmt.Errorf("make a scratch volume: %w", err)
	}
	d.Bytes, err = req.From.ToVolume(ctx, req.Snapshot, where.name)
	d.RestoreMS = r.Now().Sub(began).Milliseconds()
	return err
}

func (r *Runner) step(what string) {
	if r.Progress != nil {
		r.Progress(what)
	}
}
