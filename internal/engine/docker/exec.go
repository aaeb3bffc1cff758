package docker

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"

	"github.com/backupd/backupd/internal/engine"
)

// Exec runs a command in a running container and gives its exit code once it has ended: 126
// or 127, with the reason among what it prints, for a program that cannot be run, and 137 when its container is killed. In a
// container that is paused, or does not run, it is engine.ErrConflict. Nothing can end a command: when ctx ends its input does, and it
// goes on by itself. After an error, too, it may run.
func (c *Client) Exec(ctx context.Context, id string, cmd engine.Command) (exit int, err error) {
	if err = segment(id); err == nil {
		exit, err = c.exec(ctx, id, cmd)
	}
	if err != nil {
		return 0, fmt.Errorf("run a command in container %q: %w", id, err)
	}
	return exit, nil
}

func (c *Client) exec(ctx context.Context, id string, cmd engine.Command) (int, error) {
	creating, cancel := bounded(ctx, answerLimit)
	defer cancel()
	made, err := c.api.ContainerExecCreate(creating, id, container.ExecOptions{
		Cmd: cmd.Args, Env: cmd.Env, User: cmd.User, AttachStdin: cmd.Stdin != nil, AttachStdout: true, AttachStderr: true,
	})
	if err != nil {
		return 0, c.sorted(creating, err)
	}
	stream, err := c.attach(ctx, made.ID)
	if err != nil {
		return 0, c.refused(ctx, id, err)
	}
	if err := follow(ctx, stream, cmd); err != nil {
		return 0, err
	}
	return c.exitCode(ctx, made.ID)
}

// attach starts a command. The client waits for the answer without an eye on ctx, so it is left waiting when that ends.
func (c *Client) attach(ctx context.Context, exec string) (types.HijackedResponse, error) {
	ctx, cancel := bounded(ctx, answerLimit)
	defer cancel()
	type answer struct {
		stream types.HijackedResponse
		err    error
	}
	answers := make(chan answer)
	go func() {
		stream, err := c.api.ContainerExecAttach(ctx, exec, container.ExecAttachOptions{})
		select {
		case answers <- answer{stream, err}:
		case <-ctx.Done():
			if err == nil {
				stream.Close()
			}
		}
	}()
	select {
	case a := <-answers:
		return a.stream, c.sorted(ctx, a.err)
	case <-ctx.Done():
		return types.HijackedResponse{}, context.Cause(ctx)
	}
}

// refused finds the class of a refusal to start a command, which the client drops.
func (c *Client) refused(ctx context.Context, id string, err error) error {
	if now, lookErr := c.Container(ctx, id); lookErr == nil && now.State != engine.Running {
		return fmt.Errorf("%w: it is %s: %w", engine.ErrConflict, now.State, err)
	}
	return err
}

// follow passes on what the command prints, and ends its input, until it has ended or ctx has.
func follow(ctx context.Context, stream types.HijackedResponse, cmd engine.Command) error {
	ended := make(chan struct{})
	var minding sync.WaitGroup
	defer minding.Wait()
	defer close(ended)
	minding.Go(func() {
		defer stream.Close() // which ends the copy, too
		for stdin := cmd.Stdin; ; stdin = nil {
			select {
			case <-stdin:
				_ = stream.CloseWrite() // fails only on a connection that is gone, and the input with it
			case <-ctx.Done():
				return
			case <-ended:
				return
			}
		}
	})
	_, err := stdcopy.StdCopy(orDiscard(cmd.Stdout), orDiscard(cmd.Stderr), stream.Reader)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return fmt.Errorf("%w: the connection to the command broke: %w", engine.ErrUnreachable, err)
	}
	return nil
}

func orDiscard(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}

// exitCode asks how a command ended. The engine notes that a little after it has closed the stream; when it does not, the stream was
// cut by something else.
func (c *Client) exitCode(ctx context.Context, exec string) (int, error) {
	const notes, pause = 100, 50 * time.Millisecond
	ctx, cancel := bounded(ctx, answerLimit)
	defer cancel()
	for range notes {
		end, err := c.api.ContainerExecInspect(ctx, exec)
		switch {
		case errdefs.IsNotFound(err): // not the container
			return 0, fmt.Errorf("%w: it has forgotten the command", engine.ErrUnreachable)
		case err != nil:
			return 0, c.sorted(ctx, err)
		case !end.Running:
			return end.ExitCode, nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
	return 0, fmt.Errorf("%w: the connection to the command was cut, and it goes on", engine.ErrUnreachable)
}
