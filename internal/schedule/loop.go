package schedule

import (
	"context"
	"time"
)

const (
	// longest is how long Loop sleeps at most. Timers do not see that the wall clock was set, or that the host was suspended.
	longest = time.Minute
	// breather is how long Loop waits when a step leaves undone what is due.
	breather = time.Second
)

// Loop calls step at once, whenever the time is reached that step gave last, for each wake, and at least once a minute; so step must
// expect to be called when nothing is due. The zero time stands for nothing to wait for. A time that is not after the one that
// step was given comes round in a second, so that what stays due does not keep the processor busy.
//
// Loop ends with the cause of ctx's end, never in the midst of a step.
func Loop(ctx context.Context, now func() time.Time, wake <-chan struct{}, step func(now time.Time) (next time.Time)) error {
	for ctx.Err() == nil {
		began := now().Round(0)
		timer := time.NewTimer(pause(began, step(began), now().Round(0)))
		select {
		case <-ctx.Done():
		case <-timer.C:
		case _, open := <-wake:
			if !open {
				wake = nil
			}
		}
		timer.Stop()
	}
	return context.Cause(ctx)
}

// pause is how long to sleep after a step that began and ended at these times.
func pause(began, next, ended time.Time) time.Duration {
	switch {
	case next.IsZero():
		return longest
	case !next.After(began):
		return breather
	default:
		return min(next.Sub(ended), longest)
	}
}
