package schedule_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backupd/backupd/internal/schedule"
)

// loop runs Loop in a bubble whose clock stands still while anything runs, and tells after how long each step came.
func loop(t *testing.T, steps int, wake func(chan struct{}), next func(step int, now time.Time) time.Time) []time.Duration {
	t.Helper()
	var came []time.Duration
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		enough := errors.New("enough")
		began := time.Now()
		wakes := make(chan struct{}, 1)
		go wake(wakes)
		err := schedule.Loop(ctx, time.Now, wakes, func(now time.Time) time.Time {
			came = append(came, time.Since(began))
			if len(came) == steps {
				cancel(enough)
			}
			return next(len(came), now)
		})
		if !errors.Is(err, enough) {
			t.Errorf("ended with %v, want the cause of its context", err)
		}
	})
	return came
}

func asleep(chan struct{}) {}

func TestLoop(t *testing.T) {
	after := func(d time.Duration) func(int, time.Time) time.Time {
		return func(_ int, now time.Time) time.Time { return now.Add(d) }
	}
	never := func(int, time.Time) time.Time { return time.Time{} }
	tests := map[string]struct {
		wake func(chan struct{})
		next func(step int, now time.Time) time.Time
		want []time.Duration
	}{
		"steps when it is time":              {asleep, after(20 * time.Second), []time.Duration{0, 20 * time.Second, 40 * time.Second}},
		"looks once a minute for the far":    {asleep, after(time.Hour), []time.Duration{0, time.Minute, 2 * time.Minute}},
		"looks once a minute with no time":   {asleep, never, []time.Duration{0, time.Minute, 2 * time.Minute}},
		"what stays due does not spin":       {asleep, after(0), []time.Duration{0, time.Second, 2 * time.Second}},
		"what is long overdue does not spin": {asleep, after(-time.Hour), []time.Duration{0, time.Second, 2 * time.Second}},
		"wakes": {
			func(wake chan struct{}) { time.Sleep(5 * time.Second); wake <- struct{}{} },
			never, []time.Duration{0, 5 * time.Second, 65 * time.Second},
		},
		"a closed wake is none": {
			func(wake chan struct{}) { close(wake) }, never, []time.Duration{0, 0, time.Minute},
		},
		"a slow step is followed at once by what came due meanwhile": {
			asleep, func(_ int, now time.Time) time.Time { time.Sleep(3 * time.Second); return now.Add(time.Second) },
			[]time.Duration{0, 3 * time.Second, 6 * time.Second},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, loop(t, len(test.want), test.wake, test.next)); diff != "" {
				t.Errorf("steps (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLoopGoesByTheWallClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		began := time.Now()
		due := began.Add(10 * time.Hour)
		jumped := func() time.Time { // the clock is set forward, or the host sleeps, ten hours in the first thirty seconds
			now := time.Now()
			if now.Sub(began) > 30*time.Second {
				now = now.Add(10 * time.Hour)
			}
			return now
		}
		err := schedule.Loop(ctx, jumped, nil, func(now time.Time) time.Time {
			if !now.Before(due) {
				cancel()
			}
			return due
		})
		if took := time.Since(began); took != time.Minute || !errors.Is(err, context.Canceled) {
			t.Errorf("noticed after %s (%v), want a minute", took, err)
		}
	})
}

func TestLoopDoesNothingOnceItsContextHasEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := schedule.Loop(ctx, time.Now, nil, func(time.Time) time.Time {
		t.Error("took a step")
		return time.Time{}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}
