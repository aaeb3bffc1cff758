package main

import (
	"io"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// console is where people read. While a bar is shown there, what is written stands above it.
type console struct {
	w io.Writer

	mu    sync.Mutex
	above io.Writer // nil without a bar
}

func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.above != nil {
		// What the terminal echoes, ^C above all, has moved the cursor away from where the bar believes it to be.
		if _, err := io.WriteString(c.w, "\r"); err != nil {
			return 0, err
		}
		if n, err := c.above.Write(p); err == nil {
			return n, nil
		}
	}
	return c.w.Write(p)
}

func (c *console) redirect(above io.Writer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.above = above
}

// bars show how far the volume is that is being worked on, on a terminal; elsewhere they show nothing, and the log says what happens.
// Nothing of them stays.
type bars struct {
	on       *console
	progress *mpb.Progress // nil where there is no terminal

	volume string // that the bar is of
	bar    *mpb.Bar
}

func newBars(on *console) *bars {
	if !isTerminal(on) {
		return &bars{}
	}
	b := &bars{on: on, progress: mpb.New(mpb.WithOutput(on.w), mpb.WithWidth(40), mpb.WithRefreshRate(200*time.Millisecond))}
	on.redirect(b.progress)
	return b
}

// update says how many bytes of a volume are done. What is expected is what the volume held last time, so that it may be wrong; 0 is
// unknown. Volumes come one after the other.
func (b *bars) update(volume string, done, expected int64) {
	if b.progress == nil {
		return
	}
	if b.bar == nil || volume != b.volume {
		b.drop()
		b.volume, b.bar = volume, b.progress.New(expected, style(expected),
			mpb.BarRemoveOnComplete(),
			mpb.PrependDecorators(decor.Name(printable(volume)+" ")),
			mpb.AppendDecorators(decor.Any(amount), decor.Name(", "), decor.AverageSpeed(decor.SizeB1024(0), "% .0f")))
	}
	if done > expected && expected > 0 {
		b.bar.SetTotal(done+1, false) // and not complete: more may come
	}
	b.bar.SetCurrent(done)
}

// style is a bar, or a sign of life where there is no telling how far it is to the end.
func style(expected int64) mpb.BarFillerBuilder {
	if expected > 0 {
		return mpb.BarStyle()
	}
	return mpb.SpinnerStyle().PositionLeft()
}

func amount(s decor.Statistics) string {
	if s.Total <= 0 || s.Current > s.Total {
		return " " + size(s.Current)
	}
	return " " + size(s.Current) + " of " + size(s.Total)
}

func (b *bars) drop() {
	if b.bar != nil {
		b.bar.Abort(true)
	}
}

// done ends the bars, wherever they stand.
func (b *bars) done() {
	if b.progress == nil {
		return
	}
	b.drop()
	b.progress.Wait()
	b.on.redirect(nil)
}
