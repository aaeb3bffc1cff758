package main

import (
	"io"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// bars show how far volumes are, on a terminal; elsewhere they show nothing, and the log says what happens.
type bars struct {
	progress *mpb.Progress // nil where there is no terminal

	mu   sync.Mutex
	bars map[string]*mpb.Bar
}

func newBars(w io.Writer) *bars {
	if !isTerminal(w) {
		return &bars{}
	}
	return &bars{
		progress: mpb.New(mpb.WithOutput(w), mpb.WithWidth(60), mpb.WithRefreshRate(200*time.Millisecond)),
		bars:     map[string]*mpb.Bar{},
	}
}

// update says how many bytes of a volume are done. What is expected is what the volume held last time, so that it may be wrong; 0 is
// unknown.
func (b *bars) update(volume string, done, expected int64) {
	if b.progress == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	bar, ok := b.bars[volume]
	if !ok {
		bar = b.progress.AddBar(expected,
			mpb.PrependDecorators(decor.Name(printable(volume), decor.WCSyncSpaceR)),
			mpb.AppendDecorators(decor.CountersKibiByte("% .1f / % .1f"), decor.Name(" "), decor.AverageSpeed(decor.SizeB1024(0), "% .1f")),
		)
		b.bars[volume] = bar
	}
	if done > expected {
		bar.SetTotal(done, false)
	}
	bar.SetCurrent(done)
}

// done ends the bars, wherever they stand.
func (b *bars) done() {
	if b.progress == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, bar := range b.bars {
		bar.SetTotal(-1, true)
	}
	b.progress.Wait()
}
