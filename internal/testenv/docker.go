package testenv

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"
	"github.com/docker/docker/pkg/stdcopy"
)

// Docker is the private engine with what a test does to it beside the code under test. Whatever it makes has a name of this test
// alone, and is gone when the test ends.
type Docker struct {
	Host string
	API  *client.Client

	t      testing.TB
	prefix string
}

// NewDocker opens the private engine.
func NewDocker(t testing.TB) *Docker {
	t.Helper()
	return openDocker(t, Engine(t))
}

func openDocker(t testing.TB, host string) *Docker {
	t.Helper()
	api, err := client.NewClientWithOpts(client.WithHost(host), client.WithAPIVersionNegotiation())
	if err != nil {
		t.Fatalf("open the private engine: %v", err)
	}
	d := &Docker{Host: host, API: api, t: t, prefix: "t" + strings.ToLower(rand.Text()[:8])}
	t.Cleanup(func() { _ = api.Close() }) // idle connections only
	return d
}

// Name is a name of this test alone.
func (d *Docker) Name(name string) string { return d.prefix + "-" + name }

// Volatile is a name of this test alone for a volume that the code under test makes, and that is to go with the test.
func (d *Docker) Volatile(name string) string {
	name = d.Name(name)
	d.t.Cleanup(func() { d.RemoveVolume(name) })
	return name
}

// Volume makes a volume and gives its full name.
func (d *Docker) Volume(name string, labels, options map[string]string) string {
	d.t.Helper()
	name = d.Volatile(name)
	_, err := d.API.VolumeCreate(d.t.Context(), volume.CreateOptions{Name: name, Driver: "local", DriverOpts: options, Labels: labels})
	d.must("create volume "+name, err)
	return name
}

// RemoveVolume removes a volume, if it is there.
func (d *Docker) RemoveVolume(name string) {
	d.t.Helper()
	ctx, cancel := afterwards(d.t.Context())
	defer cancel()
	d.must("remove volume "+name, absent(d.API.VolumeRemove(ctx, name, true)))
}

// Container is what a test asks of a container. Config.Image is needed; the network is none unless HostConfig says otherwise.
type Container struct {
	Name string
	container.Config
	HostConfig container.HostConfig
}

// Create makes a container without starting it and gives its id.
func (d *Docker) Create(c Container) string {
	d.t.Helper()
	if c.HostConfig.NetworkMode == "" {
		c.HostConfig.NetworkMode = "none"
	}
	made, err := d.API.ContainerCreate(d.t.Context(), &c.Config, &c.HostConfig, nil, nil, d.Name(c.Name))
	d.must("create container "+c.Name, err)
	d.t.Cleanup(func() { d.Remove(made.ID) })
	return made.ID
}

// Run makes a container, starts it and gives its id.
func (d *Docker) Run(c Container) string {
	d.t.Helper()
	id := d.Create(c)
	d.must("start container "+c.Name, d.API.ContainerStart(d.t.Context(), id, container.StartOptions{}))
	return id
}

// Remove removes a container, whatever it is doing, if it is there, and waits until it is gone.
func (d *Docker) Remove(id string) {
	d.t.Helper()
	ctx, cancel := afterwards(d.t.Context())
	defer cancel()
	gone, failed := d.API.ContainerWait(ctx, id, container.WaitConditionRemoved)
	err := d.API.ContainerRemove(ctx, id, container.RemoveOptions{Force: true})
	if err == nil || errdefs.IsConflict(err) { // in conflict: it is being removed already
		select {
		case <-gone:
			err = nil
		case err = <-failed:
		}
	}
	d.must("remove container "+id, absent(err))
}

// Exec runs a command in a running container and gives what it prints. A command that fails, fails the test.
func (d *Docker) Exec(id string, command ...string) string {
	d.t.Helper()
	out, err := d.TryExec(id, command...)
	d.must(fmt.Sprintf("run %q", command), err)
	return out
}

// TryExec is Exec for a command that may fail.
func (d *Docker) TryExec(id string, command ...string) (string, error) {
	ctx := d.t.Context()
	made, err := d.API.ContainerExecCreate(ctx, id, container.ExecOptions{Cmd: command, AttachStdout: true, AttachStderr: true})
	if err != nil {
		return "", err
	}
	stream, err := d.API.ContainerExecAttach(ctx, made.ID, container.ExecAttachOptions{})
	if err != nil {
		return "", err
	}
	defer stream.Close()
	var out, complaints bytes.Buffer
	if _, err := stdcopy.StdCopy(&out, &complaints, stream.Reader); err != nil {
		return "", err
	}
	end, err := d.API.ContainerExecInspect(ctx, made.ID)
	if err == nil && end.ExitCode != 0 {
		err = fmt.Errorf("exit code %d: %s%s", end.ExitCode, &out, &complaints)
	}
	return out.String(), err
}

// Logs are what a container has printed so far.
func (d *Docker) Logs(id string) string {
	d.t.Helper()
	stream, err := d.API.ContainerLogs(d.t.Context(), id, container.LogsOptions{ShowStdout: true, ShowStderr: true})
	d.must("read the log of "+id, err)
	defer func() { _ = stream.Close() }() // read to its end below
	var out bytes.Buffer
	_, err = stdcopy.StdCopy(&out, &out, stream)
	d.must("read the log of "+id, err)
	return out.String()
}

// WaitLog waits until a container has printed a text, and fails the test when it ends, or half a minute passes, without.
func (d *Docker) WaitLog(id, text string) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), 30*time.Second)
	defer cancel()
	stream, err := d.API.ContainerLogs(ctx, id, container.LogsOptions{ShowStdout: true, ShowStderr: true, Follow: true})
	d.must("follow the log of "+id, err)
	defer func() { _ = stream.Close() }() // left on purpose when the text was seen
	seen := &finder{text: []byte(text)}
	if _, err = stdcopy.StdCopy(seen, seen, stream); !errors.Is(err, errSeen) {
		d.t.Fatalf("container %s ended without printing %q (%v): %s", id, text, err, &seen.all)
	}
}

var errSeen = errors.New("seen")

type finder struct {
	text []byte
	all  bytes.Buffer
}

func (f *finder) Write(p []byte) (int, error) {
	f.all.Write(p)
	if bytes.Contains(f.all.Bytes(), f.text) {
		return 0, errSeen
	}
	return len(p), nil
}

func (d *Docker) must(what string, err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatalf("%s: %v", what, err)
	}
}

// absent takes it for success that there is nothing to remove.
func absent(err error) error {
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}

// afterwards is the context of cleaning up, when the test's own has ended.
func afterwards(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
}
