package docker

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"sync"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/pkg/stdcopy"

	"github.com/backupd/backupd/internal/engine"
)

// Setup tells how a container's process is started. What comes from its image is in it, too.
func (c *Client) Setup(ctx context.Context, id string) (engine.Setup, error) {
	ctx, cancel := bounded(ctx, answerLimit)
	defer cancel()
	var answer container.InspectResponse
	err := segment(id)
	if err == nil {
		answer, err = c.api.ContainerInspect(ctx, id)
		err = c.sorted(ctx, err)
	}
	if err == nil {
		_, err = inspected(answer)
	}
	if err != nil {
		return engine.Setup{}, fmt.Errorf("inspect container %q: %w", id, err)
	}
	of, host := answer.Config, answer.HostConfig
	return engine.Setup{
		Entrypoint: of.Entrypoint, Command: of.Cmd, Folder: of.WorkingDir, User: of.User, Env: of.Env,
		Health: healthCheck(of.Healthcheck), Memory: host.Memory, Shared: host.ShmSize,
	}, nil
}

// healthCheck is nil for none, in whichever way that is said.
func healthCheck(h *container.HealthConfig) *engine.HealthCheck {
	if h == nil || len(h.Test) == 0 || h.Test[0] == "NONE" {
		return nil
	}
	return &engine.HealthCheck{Test: h.Test, Interval: h.Interval, Timeout: h.Timeout, StartPeriod: h.StartPeriod, Retries: h.Retries}
}

// Image looks an image up by its name, id or digest.
func (c *Client) Image(ctx context.Context, name string) (engine.Image, error) {
	ctx, cancel := bounded(ctx, answerLimit)
	defer cancel()
	answer, err := c.api.ImageInspect(ctx, name)
	if err != nil {
		return engine.Image{}, fmt.Errorf("inspect image %s: %w", name, c.sorted(ctx, err))
	}
	i := engine.Image{ID: answer.ID, Digests: answer.RepoDigests}
	if answer.Config != nil {
		i.Env = answer.Config.Env
	}
	return i, nil
}

// CreateTrial makes a container to try something out in, which Start starts, and gives its id. When it fails there may be a container of that
// name all the same.
func (c *Client) CreateTrial(ctx context.Context, t engine.Trial) (id string, err error) {
	ctx, cancel := bounded(ctx, answerLimit)
	defer cancel()
	config, host := trialConfig(t)
	made, err := c.api.ContainerCreate(ctx, config, host, nil, nil, t.Name)
	if err != nil {
		return "", fmt.Errorf("create container %s: %w", t.Name, c.sorted(ctx, err))
	}
	return made.ID, nil
}

// trialConfig leaves out all that reaches out of the container: networks, ports, devices, other mounts, privileges. The log is kept small.
func trialConfig(t engine.Trial) (*container.Config, *container.HostConfig) {
	config := &container.Config{
		Image: t.Image, Labels: t.Labels, Entrypoint: t.Entrypoint, Cmd: t.Command, WorkingDir: t.Folder, User: t.User, Env: t.Env,
		NetworkDisabled: true,
	}
	if h := t.Health; h != nil {
		config.Healthcheck = &container.HealthConfig{
			Test: h.Test, Interval: h.Interval, Timeout: h.Timeout, StartPeriod: h.StartPeriod, Retries: h.Retries,
		}
	}
	host := &container.HostConfig{
		NetworkMode:   "none",
		LogConfig:     container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": "1m", "max-file": "1"}},
		RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyDisabled},
		SecurityOpt:   []string{"no-new-privileges"},
		ShmSize:       t.Shared,
		Mounts: []mount.Mount{{
			Type: mount.TypeVolume, Source: t.Volume, Target: t.At, VolumeOptions: &mount.VolumeOptions{NoCopy: true},
		}},
	}
	host.Memory, host.MemorySwap = t.Memory, t.Memory
	if t.PIDs > 0 {
		host.PidsLimit = &t.PIDs
	}
	return config, host
}

// Logged gives the last lines of what a container has printed, at most some KiB.
func (c *Client) Logged(ctx context.Context, id string, lines int) (string, error) {
	ctx, cancel := bounded(ctx, answerLimit)
	defer cancel()
	var said tail
	err := segment(id)
	if err == nil {
		err = c.sorted(ctx, c.logged(ctx, id, lines, &said))
	}
	if err != nil {
		return "", fmt.Errorf("read the log of container %q: %w", id, err)
	}
	return said.String(), nil
}

func (c *Client) logged(ctx context.Context, id string, lines int, to *tail) error {
	stream, err := c.api.ContainerLogs(ctx, id, container.LogsOptions{ShowStdout: true, ShowStderr: true, Tail: strconv.Itoa(lines)})
	if err != nil {
		return err
	}
	_, err = stdcopy.StdCopy(to, to, stream)
	return errors.Join(err, stream.Close())
}

// CopyInto copies a file, or a folder with all in it, from one container to the same path in another, which has not been started. Of more than
// most bytes nothing is said about how much of it is there then. Sockets and devices are left out.
func (c *Client) CopyInto(ctx context.Context, from, to, name string, most int64) error {
	ctx, cancel := bounded(ctx, answerLimit)
	defer cancel()
	if err := errors.Join(segment(from), segment(to)); err != nil {
		return fmt.Errorf("copy %s between containers: %w", name, err)
	}
	if err := c.copyInto(ctx, from, to, name, most); err != nil {
		return fmt.Errorf("copy %s from container %q: %w", name, from, c.sorted(ctx, err))
	}
	return nil
}

func (c *Client) copyInto(ctx context.Context, from, to, name string, most int64) error {
	source, _, err := c.api.CopyFromContainer(ctx, from, name)
	if err != nil {
		return err
	}
	pr, pw := io.Pipe()
	var copying sync.WaitGroup
	copying.Go(func() { pw.CloseWithError(relocate(pw, source, path.Dir(name), most)) })
	err = c.api.CopyToContainer(ctx, to, "/", pr, container.CopyToContainerOptions{})
	_ = pr.Close() // lets relocate end when the engine refused
	copying.Wait()
	return errors.Join(err, source.Close())
}

// relocate passes a tar stream on, with what is in it below a folder.
func relocate(w io.Writer, from io.Reader, folder string, most int64) error {
	in, out, copied := tar.NewReader(from), tar.NewWriter(w), false
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) && !copied {
			return errors.New("it is neither file nor folder")
		}
		if errors.Is(err, io.EOF) {
			return out.Close()
		}
		if err != nil {
			return err
		}
		switch h.Typeflag {
		case tar.TypeReg, tar.TypeDir, tar.TypeSymlink:
		case tar.TypeLink:
			h.Linkname = path.Join(folder, h.Linkname)[1:]
		default:
			continue
		}
		if most -= h.Size; most < 0 {
			return errors.New("it is too large to be copied")
		}
		h.Name = path.Join(folder, h.Name)[1:]
		if err := out.WriteHeader(h); err != nil {
			return err
		}
		if _, err := io.Copy(out, in); err != nil {
			return err
		}
		copied = true
	}
}
