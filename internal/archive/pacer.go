package archive

import (
	"context"
	"time"
)

// pacer keeps reading below a rate. It needs no clock: after each slice of data the time that it may take is let run, and the next
// slice must wait for its end.
type pacer struct {
	limit int64 // bytes per second; none when 0
	spent int64 // bytes since the last wait
	timer *time.Timer
}

// slicesPerSecond is how evenly the pacer spreads reading.
const slicesPerSecond = 20

// spend counts bytes that were read, and waits when they came too fast.
func (p *pacer) spend(ctx context.Context, n int) error {
	if p.limit <= 0 {
		return nil
	}
	p.spent += int64(n)
	if p.spent < p.limit/slicesPerSecond {
		return nil
	}
	if p.timer != nil {
		select {
		case <-p.timer.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	p.timer = time.NewTimer(time.Duration(float64(p.spent) / float64(p.limit) * float64(time.Second)))
	p.spent = 0
	return nil
}
