package mount

import (
	"context"
	"sync"
	"time"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/snapshot"
)

// mostOpen is how many indexes stay open while nobody uses them. Each holds up to a megabyte, beside what the cache has.
const mostOpen = 8

// readers are open snapshots.
type readers struct {
	ctx    context.Context // of all opening, which is for whoever comes next too
	open   func(ctx context.Context, ref snapshot.Ref) (*archive.Reader, error)
	now    func() time.Time
	failed func(ref snapshot.Ref, err error)

	opening sync.WaitGroup
	mu      sync.Mutex
	known   map[snapshot.Ref]*opened
	uses    int64
}

// opened is a snapshot that is open, that is being opened, or that cannot be.
type opened struct {
	done   chan struct{} // closed once the next three are set
	reader *archive.Reader
	err    error
	since  time.Time // of the error

	users int   // who have it at this moment
	used  int64 // when it was used last, counted in uses
}

func (o *opened) settled() bool {
	select {
	case <-o.done:
		return true
	default:
		return false
	}
}

// use gives the reader of a snapshot, to be released. What cannot be opened is not tried again for a while.
func (p *readers) use(ctx context.Context, ref snapshot.Ref) (r *archive.Reader, release func(), err error) {
	o := p.claim(ref)
	release = func() { p.release(o) }
	select {
	case <-o.done:
		err = o.err
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		release()
		return nil, nil, err
	}
	return o.reader, release, nil
}

func (p *readers) claim(ref snapshot.Ref) *opened {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.known[ref]
	if o == nil || o.settled() && o.err != nil && p.now().Sub(o.since) >= refresh {
		o = &opened{done: make(chan struct{})}
		p.known[ref] = o
		p.opening.Go(func() { p.fill(ref, o) })
	}
	p.uses++
	o.users, o.used = o.users+1, p.uses
	return o
}

func (p *readers) fill(ref snapshot.Ref, o *opened) {
	o.reader, o.err = p.open(p.ctx, ref)
	if o.err != nil {
		o.since = p.now()
		p.failed(ref, o.err)
	}
	close(o.done)
}

func (p *readers) release(o *opened) {
	p.mu.Lock()
	defer p.mu.Unlock()
	o.users--
	for len(p.known) > mostOpen && p.dropOne() {
	}
}

// dropOne closes the one that was not used for longest, if nobody uses it.
func (p *readers) dropOne() bool {
	var oldest snapshot.Ref
	var found *opened
	for ref, o := range p.known {
		if o.users == 0 && o.settled() && (found == nil || o.used < found.used) {
			oldest, found = ref, o
		}
	}
	if found == nil {
		return false
	}
	delete(p.known, oldest)
	found.close()
	return true
}

func (o *opened) close() {
	if o.reader != nil {
		o.reader.Close()
	}
}

// close closes all, when nobody uses any.
func (p *readers) close() {
	p.opening.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, o := range p.known {
		o.close()
	}
	p.known = nil
}
