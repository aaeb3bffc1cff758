package access

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/docker/docker/api/types/container"

	"github.com/backupd/backupd/internal/engine/docker"
	"github.com/backupd/backupd/internal/testenv"
)

// What goes through helpers there is tested with the program itself, in test/e2e.
func TestPathOnRealEngine(t *testing.T) {
	testenv.Root(t)
	d := testenv.NewDocker(t)
	client, err := docker.Open(t.Context(), docker.Options{Host: d.Host})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() }) // idle connections only
	p := newPaths(client)
	path := func(name string) (string, error) {
		v, err := client.Volume(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		return p.find(t.Context(), v, true)
	}
	plain := d.Volume("plain", nil, nil)
	c := testenv.Container{Name: "writer", HostConfig: container.HostConfig{Binds: []string{plain + ":/data"}}}
	c.Image, c.Cmd = d.ShellImage(), []string{"/bin/sh", "-c", "echo here >/data/file; echo done; " + testenv.Wait}
	d.WaitLog(d.Run(c), "done")
	dir, err := path(plain)
	if err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "file")); err != nil || string(data) != "here\n" {
		t.Errorf("in %s there is %q, %v", dir, data, err)
	}
	memory := d.Volume("memory", nil, map[string]string{"type": "tmpfs", "device": "tmpfs"})
	if dir, err := path(memory); !errors.As(err, new(elsewhereError)) {
		t.Errorf("one with options: path %q, error %v", dir, err)
	}
}
