package daemon

import (
	"context"
	"time"

	"github.com/backupd/backupd/internal/engine"
)

// watch wakes the loop when something happens in the engine that may change what is enrolled. A stream that breaks is taken up again
// where it broke, with back-off.
func (d *Daemon) watch(ctx context.Context) error {
	since := d.Now()
	for failures := 0; ; {
		for event, err := range d.Watcher.Events(ctx, since) {
			if err != nil {
				if ctx.Err() == nil && failures == 0 {
					d.Log.Warn("the engine's events broke off", "err", err)
				}
				break
			}
			if failures = 0; event.Time.After(since) {
				since = event.Time
			}
			if matters(event) {
				d.nudge()
			}
		}
		failures++
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(backOff(failures)):
			d.nudge() // what happened meanwhile may be lost
		}
	}
}

// matters tells whether an event can change which volumes are enrolled, or how. The engine tells "create" of a volume each time that a
// container is made that mounts it, so that it means no more than: look.
func matters(e engine.Event) bool {
	switch e.Action {
	case "create", "destroy", "start", "rename", "update":
		return e.Type == "container" || e.Type == "volume"
	}
	return false
}
