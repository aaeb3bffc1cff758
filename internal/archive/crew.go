package archive

import (
	"fmt"
	"path"
	"sync"

	"golang.org/x/sys/unix"
)

// crew makes small files beside whoever reads the archive: most of a small file's cost is that of the system calls that create it. It gets
// them in batches, each of files of one folder.
type crew struct {
	report *reporter
	free   chan *batch
	todo   chan *batch
	done   sync.WaitGroup
	cur    *batch // being filled, or nil

	mu  sync.Mutex
	err error // the first
}

// batch is small files of one folder.
type batch struct {
	in    *level
	fd    int // of the folder
	files []smallFile
	data  []byte // of all of them
}

type smallFile struct {
	member *member
	data   int // how many bytes of the batch's
}

const (
	smallSize  = 64 << 10
	batchSize  = 256 << 10
	batchFiles = 32
)

// newCrew starts so many workers.
func newCrew(workers int, report *reporter) *crew {
	n := workers + 2
	c := &crew{report: report, free: make(chan *batch, n), todo: make(chan *batch, n)}
	for range n {
		c.free <- new(batch)
	}
	for range workers {
		c.done.Go(c.work)
	}
	return c
}

func (c *crew) work() {
	for b := range c.todo {
		if err := b.make(c.report); err != nil {
			c.mu.Lock()
			if c.err == nil {
				c.err = err
			}
			c.mu.Unlock()
		}
		c.free <- b
	}
}

// failed is the first error of a worker so far.
func (c *crew) failed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// room gives the batch that a file of a folder is to go into.
func (c *crew) room(in *level, size int64) (*batch, error) {
	if b := c.cur; b != nil && (b.in != in || len(b.files) == batchFiles || len(b.data)+int(size) > batchSize) {
		c.send()
	}
	if c.cur == nil {
		b := <-c.free
		in.use()
		b.in, b.fd, b.files, b.data = in, in.fd, b.files[:0], b.data[:0]
		c.cur = b
	}
	return c.cur, c.failed()
}

// send gives the batch to the workers. There is room for all.
func (c *crew) send() {
	if c.cur != nil {
		c.todo <- c.cur
		c.cur = nil
	}
}

// settle waits until all files are made.
func (c *crew) settle() error {
	c.send()
	var all []*batch
	for range cap(c.free) {
		all = append(all, <-c.free)
	}
	for _, b := range all {
		c.free <- b
	}
	return c.failed()
}

// close makes what there is to make, and lets the workers go.
func (c *crew) close() error {
	c.send()
	close(c.todo)
	c.done.Wait()
	return c.failed()
}

// make makes the files of a batch. What it made before an error stays, and the folder is released in any case.
func (b *batch) make(report *reporter) (err error) {
	defer func() {
		if releasing := b.in.release(); err == nil {
			err = releasing
		}
		b.in = nil
	}()
	data := b.data
	for _, f := range b.files {
		if err := f.make(b, data[:f.data], report); err != nil {
			return fmt.Errorf("restore %q: %w", f.member.Path, err)
		}
		data = data[f.data:]
	}
	return nil
}

func (f smallFile) make(b *batch, data []byte, report *reporter) error {
	n := node{dir: b.fd, name: path.Base(f.member.Path), fd: -1, inherits: b.in.inherits}
	return n.file(f.member, report, func(fd int) error {
		if err := writeFullAt(fd, data, 0); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		return nil
	})
}

// file makes a file, lets fill write it, and gives it its attributes.
func (n node) file(m *member, report *reporter, fill func(fd int) error) (err error) {
	err = replacing(n, func() error {
		n.fd, err = openAt(n.dir, n.name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600)
		return err
	})
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	// A full disk may show itself no earlier than here.
	defer func() {
		if closing := unix.Close(n.fd); err == nil && closing != nil {
			err = fmt.Errorf("close: %w", closing)
		}
	}()
	if err := fill(n.fd); err != nil {
		return err
	}
	return n.restore(m, func(what string, why error) { report.skip(m.Path, what, why) })
}
