package quiesce

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/snapshot"
)

// command is a hook that runs, or has.
type command struct {
	container engine.Container
	hook      string // "pre", "during" or "post"
	args      []string
	timeout   time.Duration

	stdin chan struct{} // closed to end its input; nil for none
	ready chan struct{} // closed when it has printed a line
	said  tail

	cancel context.CancelCauseFunc // gives it up
	ended  chan struct{}           // closed when the rest is there
	took   time.Duration
	exit   int
	err    error // why there is no exit code
}

func (c *command) String() string {
	return fmt.Sprintf("%s-hook in container %q", c.hook, c.container.Name)
}

// errUnended is what a command is given up with that has not ended in its time. There is no way to end it from outside.
var errUnended = errors.New("it has not ended in its time, and goes on by itself")

// start begins a command, which is not cut short when ctx ends: it would go on, and nobody would know when it ends.
func (k *Keeper) start(ctx context.Context, c *command) {
	ctx, c.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	c.ready, c.ended = make(chan struct{}), make(chan struct{})
	c.said.line = c.ready
	begun := k.now()
	go func() {
		defer close(c.ended)
		defer c.cancel(nil)
		c.exit, c.err = k.eng.Exec(ctx, c.container.ID, engine.Command{
			Args: c.args, Stdin: c.stdin, Stdout: (*stdout)(&c.said), Stderr: &c.said,
		})
		c.took = k.now().Sub(begun)
	}()
}

// run runs a command to its end.
func (k *Keeper) run(ctx context.Context, c *command) error {
	k.start(ctx, c)
	return c.wait()
}

// wait waits until the command has ended, for as long as it may take, and tells what is wrong with how it did.
func (c *command) wait() error {
	late := time.NewTimer(c.timeout)
	defer late.Stop()
	select {
	case <-c.ended:
	case <-late.C:
		c.cancel(errUnended)
		<-c.ended
	}
	return c.failure()
}

// failure is what is wrong with how a command ended, with the last of what it printed.
func (c *command) failure() error {
	switch said := c.said.String(); {
	case errors.Is(c.err, errUnended):
		return fmt.Errorf("%s: %w (%s): %q", c, errUnended, c.timeout, said)
	case c.err != nil:
		return fmt.Errorf("%s: %w", c, c.err)
	case c.exit != 0:
		return fmt.Errorf("%s: exit code %d: %q", c, c.exit, said)
	}
	return nil
}

// told is what goes into the manifest. What a command printed may be anything, and stays on this host.
func (c *command) told() snapshot.Hook {
	h := snapshot.Hook{Container: c.container.Name, Hook: c.hook, Exit: c.exit, Milliseconds: c.took.Milliseconds()}
	switch {
	case errors.Is(c.err, errUnended):
		h.Failed = "it did not end in its time"
	case c.err != nil:
		h.Failed = "it could not be run, or nobody knows how it ended"
	}
	return h
}

// tail keeps the last of what a command prints.
type tail struct {
	mu   sync.Mutex
	last []byte
	cut  bool
	line chan struct{} // closed at the first end of a line on its standard output; nil afterwards
}

const maxSaid = 2 << 10 // bytes that are kept of what a command prints

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = append(t.last, p[max(0, len(p)-maxSaid):]...)
	if over := len(t.last) - maxSaid; over > 0 || len(p) > maxSaid {
		t.last, t.cut = append([]byte(nil), t.last[max(0, over):]...), true
	}
	return len(p), nil
}

// String is text, whatever was printed.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := strings.TrimSpace(strings.ToValidUTF8(string(t.last), "\ufffd"))
	if t.cut {
		text = "..." + text
	}
	return text
}

// stdout is where the line comes from that a command says it is ready with.
type stdout tail

func (s *stdout) Write(p []byte) (int, error) {
	t := (*tail)(s)
	n, err := t.Write(p)
	if t.line != nil && bytes.ContainsRune(p, '\n') {
		close(t.line)
		t.line = nil
	}
	return n, err
}
