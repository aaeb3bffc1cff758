package drill

import (
	"bytes"
	"context"
	"fmt"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/snapshot"
)

// console is where commands are run in a container.
type console struct {
	eng theatre
	id  string
	env []string // that the container was given
	now func() time.Time
}

// start starts the container.
func (c console) start(ctx context.Context) error {
	if err := c.eng.Start(ctx, c.id); err != nil {
		return fmt.Errorf("start a container on what was restored: %w", err)
	}
	return nil
}

// run runs a command to its end, and gives the beginning of what it printed.
func (c console) run(ctx context.Context, cmd engine.Command) (exit int, said *head, err error) {
	said = &head{}
	exit, err = c.runTo(ctx, cmd, said)
	return exit, said, err
}

func (c console) runTo(ctx context.Context, cmd engine.Command, said *head) (exit int, err error) {
	cmd.Stdout, cmd.Stderr = said, said
	return c.eng.Exec(ctx, c.id, cmd)
}

// check runs a command that says by its exit code whether all is well. An error says that nobody knows.
func (c console) check(ctx context.Context, of string, cmd engine.Command) (snapshot.Check, error) {
	return c.checkTo(ctx, of, cmd, &head{})
}

func (c console) checkTo(ctx context.Context, of string, cmd engine.Command, said *head) (snapshot.Check, error) {
	began := c.now()
	exit, err := c.runTo(ctx, cmd, said)
	if err != nil {
		return snapshot.Check{}, err
	}
	done := snapshot.Check{Of: of, Asked: asked(cmd.Args), Answer: said.String(), TookMS: c.now().Sub(began).Milliseconds()}
	if exit != 0 {
		done.Failed, done.Answer = strings.TrimSuffix(fmt.Sprintf("exit code %d: %s", exit, said), ": "), ""
	}
	return done, nil
}

// asked is a command for people to read: the program without its folder, and nothing that is a credential.
func asked(args []string) string {
	shown := snapshot.WithoutSecrets(args)
	shown[0] = path.Base(shown[0])
	return strings.Join(shown, " ")
}

// tool gives the path of a program that the container has, or "": on its PATH, or in one of some folders.
func (c console) tool(ctx context.Context, name string, folders ...string) (string, error) {
	for _, path := range append([]string{name}, within(name, folders)...) {
		exit, _, err := c.run(ctx, engine.Command{Args: []string{path, "--version"}})
		if err != nil || exit == 0 {
			return path, err
		}
	}
	return "", nil
}

func within(name string, folders []string) (paths []string) {
	for _, dir := range folders {
		paths = append(paths, path.Join(dir, name))
	}
	return paths
}

// lastWords are the last lines of a container's log, in words that go on after others.
func (c console) lastWords(ctx context.Context) string {
	const lines = 8
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
	defer cancel()
	text, err := c.eng.Logged(ctx, c.id, lines)
	text = oneLine(text)
	switch {
	case err != nil:
		return fmt.Sprintf(", and its log cannot be read: %v", err)
	case text == "":
		return ", and has printed nothing"
	}
	return ", and says: " + text
}

// oneLine makes one line of several.
func oneLine(text string) string {
	var lines []string
	for line := range strings.Lines(strings.ToValidUTF8(text, "\ufffd")) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, " | ")
}

// head keeps the beginning of what a command prints: what a checker finds first is what matters. A command that nobody waits for any more may
// go on to print.
type head struct {
	unless func(line string) bool // tells lines that do not matter; nil for none

	mu   sync.Mutex
	line []byte // the beginning of one, while it is not known whether it matters
	text []byte
	cut  bool
}

const mostSaid = 2 << 10

func (h *head) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.unless == nil {
		h.keep(p)
		return len(p), nil
	}
	for line := range bytes.Lines(p) {
		if h.line = append(h.line, line[:min(len(line), mostSaid)]...); line[len(line)-1] == '\n' || len(h.line) >= mostSaid {
			if !h.unless(strings.TrimSpace(string(h.line))) {
				h.keep(h.line)
			}
			h.line = h.line[:0]
		}
	}
	return len(p), nil
}

func (h *head) keep(p []byte) {
	room := mostSaid - len(h.text)
	h.cut = h.cut || len(p) > room
	h.text = append(h.text, p[:min(len(p), room)]...)
}

// lines are as they were printed.
func (h *head) lines() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Split(string(h.text), "\n")
}

// String is all in one line.
func (h *head) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	text := oneLine(string(h.text))
	if h.cut {
		text += " ..."
	}
	return text
}
