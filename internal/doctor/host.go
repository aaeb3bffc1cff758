package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/ledger"
	"github.com/backupd/backupd/internal/plan"
)

// Engine looks whether the engine answers. Address is "" where there is none.
func Engine(address string, info func(ctx context.Context) (engine.Info, error)) Check {
	return Check{Name: "engine", Look: func(ctx context.Context, r *Report) {
		i, err := info(ctx)
		switch {
		case errors.Is(err, engine.ErrUnreachable):
			r.Fail("is DOCKER_HOST right, and does the engine run?", "%v", err)
		case err != nil:
			r.Fail(mend(err), "it does not say who it is: %v", err)
		case address == "":
			r.OK("none: volumes are the folders in %s", i.Root)
		default:
			r.OK("version %s, API %s, at %s", i.Version, i.API, address)
		}
	}}
}

// Finder gives the volumes that are enrolled.
type Finder interface {
	Volumes(ctx context.Context) ([]plan.Volume, error)
}

// Access opens a volume for reading, and closes it again. Direct tells whether it is a folder here.
type Access func(ctx context.Context, v engine.Volume) (direct bool, err error)

// Volumes looks at what is enrolled: its settings, its last run, and whether it can be read. One helper that works is enough to know that
// they do.
func Volumes(f Finder, known map[string]ledger.Volume, open Access) Check {
	return Check{Name: "volumes", Look: func(ctx context.Context, r *Report) {
		volumes, err := f.Volumes(ctx)
		if err != nil {
			r.Fail(mend(err), "they cannot be discovered: %v", err)
			return
		}
		if len(volumes) == 0 {
			r.Warn("label a volume, or a container that mounts it, with backupd.enable=true", "none is enrolled, so nothing is backed up")
			return
		}
		here, helped := 0, 0
		for _, v := range volumes {
			problems(r, v)
			lastRun(r, v, known[v.Name])
			if helped > 0 && (len(v.Options) > 0 || v.Driver != "local") || v.Refused {
				continue
			}
			direct, err := open(ctx, v.Volume)
			switch {
			case err != nil:
				r.Fail(mend(err), "%v", err)
			case direct:
				here++
			default:
				helped++
			}
		}
		switch {
		case helped > 0:
			r.OK("%d enrolled; %d can be read here, helper containers work for the others", len(volumes), here)
		case here > 0:
			r.OK("%d enrolled; %d can be read here", len(volumes), here)
		}
	}}
}

func problems(r *Report, v plan.Volume) {
	for _, p := range v.Problems {
		if v.Refused {
			r.Fail("correct that setting; until then the volume is not backed up", "volume %q: %s", v.Name, p)
		} else {
			r.Warn("correct that setting", "volume %q: %s", v.Name, p)
		}
	}
}

func lastRun(r *Report, v plan.Volume, known ledger.Volume) {
	switch {
	case known.Failures > 0:
		r.Warn("mend what it says, then \"backupd backup "+v.Name+"\"", "volume %q: its last run stored nothing good: %s", v.Name, oneLine(known.LastError))
	case known.LastError != "":
		r.Warn("mend what it says; the daemon fills what targets missed, or \"backupd sync\"", "volume %q: its last run was not all well: %s", v.Name, oneLine(known.LastError))
	}
}

func oneLine(text string) string { return strings.ReplaceAll(text, "\n", "; ") }

// Holds looks for what dead processes have left held.
func Holds(pending func() (bool, error), running func() (bool, error)) Check {
	return Check{Name: "holds", Look: func(_ context.Context, r *Report) {
		there, err := pending()
		alive, errRunning := running()
		switch err := errors.Join(err, errRunning); {
		case err != nil:
			r.Fail(mend(err), "journals of holds cannot be looked at: %v", err)
		case there && alive:
			r.Note("there are journals of holds: of a run that is under way, or of one that died, which the daemon lets go")
		case there:
			r.Warn("\"backupd recover\" lets go of what nobody holds any more, and is harmless at any time", "there are journals of holds: of a run that is under way, or of one that died")
		default:
			r.OK("nothing is left held")
		}
	}}
}

// Guard looks whether containers are guarded from outside of this one. Sibling makes a guard in a container of its own and lets it end; nil is
// for a process that is in no container.
func Guard(sibling func(ctx context.Context) error) Check {
	return Check{Name: "guard", Look: func(ctx context.Context, r *Report) {
		if sibling == nil {
			r.OK("a process of its own")
			return
		}
		if err := sibling(ctx); err != nil {
			r.Warn("let the engine, or the proxy before it, allow to make, start, attach to and remove containers",
				"the engine refuses a guard in a container of its own, so that containers stay held when this one is killed, until it runs again: %v", err)
			return
		}
		r.OK("a container of its own beside this one")
	}}
}

// Service looks whether something lets go at boot and backs up by itself. Recover is nil where there is no systemd to do that.
func Service(running func() (bool, error), recovers func() (bool, error)) Check {
	return Check{Name: "service", Look: func(_ context.Context, r *Report) {
		alive, err := running()
		switch {
		case err != nil:
			r.Fail(mend(err), "whether a daemon runs cannot be told: %v", err)
		case alive:
			r.OK("a daemon runs with this state directory")
		default:
			r.Warn("\"backupd run\", or systemctl enable --now backupd; with a timer of your own for \"backupd backup\" all is well",
				"no daemon runs with this state directory, so nothing is backed up or verified by itself")
		}
		if recovers == nil {
			return
		}
		if enabled, err := recovers(); err != nil || !enabled {
			r.Warn("systemctl enable backupd-recover", "nothing lets go at boot of containers that were held when the machine went down")
		}
	}}
}

// State is what there is to know of the state directory.
type State struct {
	Path    string
	Private bool // nobody else may look into it
	Free    int64
}

// StateDir looks at the state directory.
func StateDir(look func() (State, error)) Check {
	const least = 256 << 20
	return Check{Name: "state", Look: func(_ context.Context, r *Report) {
		s, err := look()
		switch {
		case err != nil:
			r.Fail(mend(err), "the state directory cannot be used: %v", err)
			return
		case s.Free < least:
			r.Warn("make room there: without it holds cannot be journaled, nor slow targets be waited for", "%s has only %s free", s.Path, size(s.Free))
		case s.Private:
			r.OK("%s has %s free", s.Path, size(s.Free))
		}
		if !s.Private {
			r.Warn("chmod 0700 "+s.Path, "%s is open to others: names of volumes and labels of containers are in it", s.Path)
		}
	}}
}

func days(d time.Duration) string {
	switch {
	case d < 2*time.Hour:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	case d < 48*time.Hour:
		return fmt.Sprintf("%d hours", d/time.Hour)
	}
	return fmt.Sprintf("%d days", d/(24*time.Hour))
}
