package restore_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/faulttest"
)

// TestEveryFault restores in every way, once for each call that this makes of the engine and of the store, and each way in which that
// call can fail. Whatever fails: containers run, a volume is wholly old or wholly new, and nothing is left lying about.
func TestEveryFault(t *testing.T) {
	for name, attempt := range map[string]func(*testing.T, *world) (do func(context.Context) error, check func(where string, err error)){
		"in place":  inPlace,
		"to volume": toVolume,
		"to dir":    toDir,
	} {
		for _, kind := range faulttest.Kinds {
			t.Run(fmt.Sprintf("%s/%v", name, kind), func(t *testing.T) {
				for at, more := 1, true; more; at++ {
					synctest.Test(t, func(t *testing.T) {
						w := newWorld(t)
						do, check := attempt(t, w)
						ctx, cancel := context.WithCancel(t.Context())
						defer cancel()
						faults := &faulttest.Injector{At: at, Kind: kind, Cancel: cancel}
						w.inject(faults)
						err := do(ctx)
						w.inject(nil)
						calls := faults.Calls()
						if more = at <= len(calls); !more {
							must(t, err)
							t.Logf("%d calls", len(calls))
							return
						}
						check(fmt.Sprintf("call %d, %s, failed %v", at, calls[at-1], kind), err)
					})
				}
			})
		}
	}
}

func inPlace(t *testing.T, w *world) (func(context.Context) error, func(string, error)) {
	v := w.volume(t, "app", old)
	users := []engine.Container{
		w.container("app", engine.Container{Name: "db", StopTimeout: time.Second}, false),
		w.container("app", engine.Container{Name: "reader", StopTimeout: time.Second}, true),
	}
	before, wanted := look(t, v.Mountpoint), look(t, w.source)
	do := func(ctx context.Context) error {
		_, err := w.runner.InPlace(ctx, w.request, v, w.then)
		return err
	}
	return do, func(where string, err error) {
		after := look(t, v.Mountpoint)
		isOld, isNew := cmp.Equal(before, after), cmp.Equal(wanted, after)
		if !isOld && !isNew || err == nil && isOld {
			t.Errorf("%s: error %v, and the volume is neither wholly old nor wholly new:\n%v", where, err, after)
		}
		for _, c := range users {
			if state := w.state(t, c); state != engine.Running {
				t.Errorf("%s: %s is %s", where, c.Name, state)
			}
		}
		if err == nil {
			wantNothingLeft(t, v.Mountpoint)
		}
		wantLeft(t, v.Mountpoint, 1) // what was replaced
	}
}

func toVolume(t *testing.T, w *world) (func(context.Context) error, func(string, error)) {
	do := func(ctx context.Context) error {
		_, err := w.runner.ToVolume(ctx, w.request, "fresh", nil)
		return err
	}
	return do, func(where string, err error) {
		v, lookErr := w.eng.Volume(t.Context(), "fresh")
		switch {
		case err == nil && lookErr != nil:
			t.Errorf("%s: there is no volume: %v", where, lookErr)
		case err == nil && !cmp.Equal(look(t, w.source), look(t, v.Mountpoint)):
			t.Errorf("%s: the volume is not what was stored", where)
		case err != nil && lookErr == nil && !lookEmpty(t, v.Mountpoint):
			t.Errorf("%s: after %v the volume holds a part", where, err)
		}
	}
}

func toDir(t *testing.T, w *world) (func(context.Context) error, func(string, error)) {
	dir := filepath.Join(t.TempDir(), "out")
	do := func(ctx context.Context) error {
		_, err := w.runner.ToDir(ctx, w.request, dir)
		return err
	}
	return do, func(where string, err error) {
		_, lookErr := os.Lstat(dir)
		if (err == nil) != (lookErr == nil) {
			t.Errorf("%s: error %v, and of the folder %v", where, err, lookErr)
		}
	}
}
