package drill

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/recognise"
	"github.com/backupd/backupd/internal/snapshot"
)

// beforehand asks what is to be asked before anything is started on the data: files that can be read alone, by programs that look at nothing
// else. What they find wrong ends the drill: nothing is to be started on that.
func (p *play) beforehand(ctx context.Context) error {
	if p.command != nil {
		return nil
	}
	for _, d := range p.databases {
		var check snapshot.Check
		var err error
		switch d.Kind {
		case recognise.Redis:
			check, err = p.redisFile(ctx, d)
		case recognise.SQLite:
			check, err = p.sqliteFile(ctx, d)
		}
		if err != nil {
			return err
		}
		if check.Asked != "" {
			p.noted(check)
		}
	}
	return verdictOf(p.bad())
}

// errNoProgram marks an image that has not the program.
var errNoProgram = errors.New("the image has not the program")

// alone runs a program in a container of its own on the data, to its end, and gives the last of what it printed.
func (p *play) alone(ctx context.Context, t engine.Trial) (exit int, said string, err error) {
	in, err := p.create(ctx, t)
	if err != nil {
		return 0, "", err
	}
	if err := in.start(ctx); err != nil {
		if in.never(ctx) {
			err = errNoProgram
		}
		return 0, "", err
	}
	for {
		c, err := p.Engine.Container(ctx, in.id)
		if err != nil {
			return 0, "", err
		}
		if !c.Active() {
			said, err := p.Engine.Logged(ctx, in.id, checkerLines)
			if err == nil && c.Ending.OutOfMemory {
				err = fmt.Errorf("it took more than the %d MiB of memory that it might: give it more with --memory", t.Memory>>20)
			}
			return c.Ending.Exit, said, err
		}
		select {
		case <-ctx.Done():
			return 0, "", context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

// checkerLines is how many lines are looked at of what a program prints that is run alone.
const checkerLines = 40

// never tells whether a container could not be started for want of its program.
func (c console) never(ctx context.Context) bool {
	now, err := c.eng.Container(ctx, c.id)
	const notFound = 127 // as a shell would say; the engine does, too
	return err == nil && !now.Active() && now.Ending.Exit == notFound
}

// linesWithout gives lines of a text but those that begin in a certain way.
func linesWithout(text string, prefixes ...string) string {
	var kept []string
lines:
	for line := range strings.Lines(text) {
		for _, prefix := range prefixes {
			if strings.HasPrefix(line, prefix) {
				continue lines
			}
		}
		kept = append(kept, line)
	}
	return clipped(oneLine(strings.Join(kept, "")))
}

func clipped(text string) string {
	if len(text) > mostSaid {
		text = strings.ToValidUTF8(text[:mostSaid], "") + " ..."
	}
	return text
}
