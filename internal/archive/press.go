package archive

import (
	"context"
	"sync"
)

// press makes frames of the blocks on its line, and writes them.
type press struct {
	line *line
	out  *stored

	ending  sync.Once
	working sync.WaitGroup
	broken  context.Context // ends when writing fails
	err     error           // why; valid when broken has ended, or nobody works any more
}

// newPress starts a press with so many workers. It must be ended.
func newPress(f *framer, workers int, out *stored, index *indexWriter) *press {
	p := &press{line: newLine(workers), out: out}
	broken, breaks := context.WithCancel(context.Background())
	p.broken = broken
	for range workers {
		p.working.Go(func() { p.line.work(f.frame) })
	}
	p.working.Go(func() {
		if p.err = p.out.writeAll(p.line, index); p.err != nil {
			breaks()
		}
	})
	return p
}

// feeding is a context for whoever puts blocks on the line: it ends when nobody takes them any more.
func (p *press) feeding(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(p.broken, func() { cancel(p.err) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// end writes what is on the line and waits for that. Once is enough: further calls give the same.
func (p *press) end() error {
	p.ending.Do(p.line.close)
	p.working.Wait()
	return p.err
}
