package docker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/pkg/stdcopy"

	"github.com/backupd/backupd/internal/engine"
)

// RunHelper makes a helper, starts it, and gives what leads to its process. When it fails there may be a container of that name all the
// same.
func (c *Client) RunHelper(ctx context.Context, h engine.Helper) (engine.Stream, error) {
	bound, cancel := bounded(ctx, answerLimit)
	defer cancel()
	s, err := c.runHelper(bound, h)
	if err != nil {
		return nil, fmt.Errorf("run helper container %s: %w", h.Name, c.sorted(bound, err))
	}
	return s, nil
}

func (c *Client) runHelper(ctx context.Context, h engine.Helper) (*helperStream, error) {
	config, host := helperConfig(h)
	made, err := c.api.ContainerCreate(ctx, config, host, nil, nil, h.Name)
	if err != nil {
		return nil, err
	}
	return c.startAttached(ctx, made.ID)
}

// startAttached starts a container that has been made, and gives what leads to its process.
func (c *Client) startAttached(ctx context.Context, id string) (*helperStream, error) {
	conn, err := c.api.ContainerAttach(ctx, id, container.AttachOptions{Stream: true, Stdin: true, Stdout: true, Stderr: true})
	if err != nil {
		return nil, err
	}
	waiting, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended, failed := c.api.ContainerWait(waiting, id, container.WaitConditionNextExit)
	if err := c.api.ContainerStart(ctx, id, container.StartOptions{}); err != nil {
		stop()
		conn.Close()
		return nil, err
	}
	s := &helperStream{conn: conn, stop: stop, done: make(chan struct{})}
	s.PipeReader, s.out = io.Pipe()
	go s.run(ended, failed)
	return s, nil
}

// helperConfig gives a helper what it needs and nothing else. Its stdin ends with the connection of the client that is attached, however that
// one ends, only when it is open once. Other than its volume, which may be of any user, label or mapping, it has a folder for what does
// not fit into memory: a volume of its own, which goes with it.
func helperConfig(h engine.Helper) (*container.Config, *container.HostConfig) {
	config := &container.Config{
		Image: h.Image, Labels: h.Labels, User: "0:0", NetworkDisabled: true,
		AttachStdin: true, AttachStdout: true, AttachStderr: true, OpenStdin: true, StdinOnce: true,
	}
	return config, &container.HostConfig{
		NetworkMode:    "none",
		LogConfig:      container.LogConfig{Type: "none"},
		UsernsMode:     "host",
		ReadonlyRootfs: true,
		AutoRemove:     true,
		CapDrop:        []string{"ALL"},
		CapAdd:         h.Capabilities,
		SecurityOpt:    []string{"no-new-privileges", "label=disable"},
		Mounts: []mount.Mount{
			{
				Type: mount.TypeVolume, Source: h.Volume, Target: engine.HelperFolder, ReadOnly: h.ReadOnly,
				VolumeOptions: &mount.VolumeOptions{NoCopy: true, Labels: h.Made},
			},
			{Type: mount.TypeVolume, Target: "/tmp", VolumeOptions: &mount.VolumeOptions{NoCopy: true, Labels: h.Made}},
		},
	}
}

// helperStream takes apart what the engine sends of stdout and stderr.
type helperStream struct {
	*io.PipeReader // of stdout
	conn           types.HijackedResponse
	out            *io.PipeWriter
	stop           context.CancelFunc // of the waiting for its end
	done           chan struct{}
}

func (s *helperStream) Write(p []byte) (int, error) { return s.conn.Conn.Write(p) }
func (s *helperStream) CloseWrite() error           { return s.conn.CloseWrite() }

func (s *helperStream) Close() error {
	err := s.conn.Conn.Close()
	s.stop()
	_ = s.PipeReader.Close() // never fails
	<-s.done
	return err
}

// run passes stdout on until the process ends, and then says how that was.
func (s *helperStream) run(ended <-chan container.WaitResponse, failed <-chan error) {
	defer close(s.done)
	defer s.stop()
	var said tail
	_, err := stdcopy.StdCopy(s.out, &said, s.conn.Reader)
	if err == nil {
		err = how(ended, failed)
	}
	if text := strings.TrimSpace(said.String()); err != nil && text != "" {
		err = fmt.Errorf("%w: %s", err, text)
	}
	s.out.CloseWithError(err) // nil is io.EOF
}

// how waits for the end of a container of which nothing more is heard, and gives an error when it was none of its own will.
func how(ended <-chan container.WaitResponse, failed <-chan error) error {
	const patience = 10 * time.Second
	select {
	case end := <-ended:
		if end.StatusCode != 0 {
			return fmt.Errorf("the helper container ended with exit code %d", end.StatusCode)
		}
		return nil
	case err := <-failed:
		return fmt.Errorf("wait for the end of the helper container: %w", err)
	case <-time.After(patience):
		return errors.New("the connection to the helper container broke off")
	}
}

// tail keeps the last of what is written.
type tail struct{ bytes.Buffer }

func (t *tail) Write(p []byte) (int, error) {
	const most = 4 << 10
	if t.Len() > most {
		t.Next(t.Len() - most)
	}
	return t.Buffer.Write(p)
}

// DeleteIdle removes a container that does not run. One that does is engine.ErrConflict, one that is not there engine.ErrNotFound.
func (c *Client) DeleteIdle(ctx context.Context, id string) error {
	return c.change(ctx, "remove", id, answerLimit, func(ctx context.Context) error {
		return c.api.ContainerRemove(ctx, id, container.RemoveOptions{})
	})
}

// DeleteContainer removes a container with its anonymous volumes, whatever it is doing, and waits until it is gone. One that is not there is
// engine.ErrNotFound.
func (c *Client) DeleteContainer(ctx context.Context, id string) error {
	return c.change(ctx, "remove", id, answerLimit, func(ctx context.Context) error {
		gone, failed := c.api.ContainerWait(ctx, id, container.WaitConditionRemoved)
		err := c.api.ContainerRemove(ctx, id, container.RemoveOptions{Force: true, RemoveVolumes: true})
		if err != nil && !errdefs.IsConflict(err) { // in conflict: it is being removed already
			return err
		}
		select {
		case <-gone:
			return nil
		case err = <-failed:
			if errdefs.IsNotFound(err) {
				return nil
			}
			return err
		}
	})
}
