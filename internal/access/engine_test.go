package access_test

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"

	"github.com/backupd/backupd/internal/access"
	"github.com/backupd/backupd/internal/engine/docker"
	"github.com/backupd/backupd/internal/testenv"
)

func TestPathOnRealEngine(t *testing.T) {
	testenv.Root(t)
	d := testenv.NewDocker(t)
	client, err := docker.Open(t.Context(), docker.Options{Host: d.Host})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() }) // idle connections only
	p := access.NewProven(client, rand.Reader)
	path := func(name string) (string, error) {
		v, err := client.Volume(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		return p.Path(t.Context(), v)
	}
	write := func(volume string) (containerID string) {
		c := testenv.Container{Name: volume, HostConfig: container.HostConfig{Binds: []string{volume + ":/data"}}}
		c.Image, c.Cmd = d.ShellImage(), []string{"/bin/sh", "-c", "echo here >/data/file; echo done; " + testenv.Wait}
		id := d.Run(c)
		d.WaitLog(id, "done")
		return id
	}
	content := func(dir string) string {
		data, err := os.ReadFile(filepath.Join(dir, "file"))
		if err != nil {
			t.Error(err)
		}
		return string(data)
	}

	plain := d.Volume("plain", nil, nil)
	write(plain)
	dir, err := path(plain)
	if err != nil || content(dir) != "here\n" {
		t.Errorf("a local volume: path %q, error %v", dir, err)
	}

	memory := d.Volume("memory", nil, map[string]string{"type": "tmpfs", "device": "tmpfs"})
	id := write(memory)
	if dir, err = path(memory); err != nil || content(dir) != "here\n" {
		t.Errorf("one with options while it is used: path %q, error %v", dir, err)
	}
	d.Remove(id)
	if dir, err = path(memory); err == nil || !strings.Contains(err.Error(), "keep such a container running") {
		t.Errorf("one with options while it is not used: path %q, error %v", dir, err)
	}
}
