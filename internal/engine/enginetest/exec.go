package enginetest

import (
	"context"
	"fmt"
	"io"

	"github.com/backupd/backupd/internal/engine"
)

const killed = 128 + 9 // exit code

// Exec runs a command in a running container.
func (f *Fake) Exec(ctx context.Context, id string, cmd engine.Command) (exit int, err error) {
	err = f.Faults.Call(ctx, "exec in container "+id, func() error {
		ended, err := f.exec(ctx, id, cmd)
		if err != nil {
			return fmt.Errorf("exec: %w", err)
		}
		select {
		case exit = <-ended:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	return exit, err
}

// exec begins a command, which goes on when nobody waits for it any more, and gives its exit code to whoever does.
func (f *Fake) exec(ctx context.Context, id string, cmd engine.Command) (<-chan int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return nil, engine.ErrUnreachable
	}
	c, err := f.find(id)
	switch {
	case err != nil:
		return nil, err
	case c.State != engine.Running:
		return nil, inConflict(c)
	}
	life, kill := context.WithCancel(context.WithoutCancel(ctx))
	c.kills = append(c.kills, kill)
	ended, program := make(chan int, 1), c.Exec
	if program == nil {
		program = func(context.Context, engine.Command) int { return 0 }
	}
	go func() {
		defer kill()
		cmd.Stdin = input(ctx, life, cmd.Stdin)
		cmd.Stdout, cmd.Stderr = orDiscard(cmd.Stdout), orDiscard(cmd.Stderr)
		exit := program(life, cmd)
		if life.Err() != nil {
			exit = killed
		}
		ended <- exit
	}()
	return ended, nil
}

// input ends with what the caller gave, with the caller, or with the command.
func input(caller, life context.Context, given <-chan struct{}) <-chan struct{} {
	end := make(chan struct{})
	if given == nil {
		close(end)
		return end
	}
	go func() {
		defer close(end)
		select {
		case <-given:
		case <-caller.Done():
		case <-life.Done():
		}
	}()
	return end
}

func orDiscard(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}
