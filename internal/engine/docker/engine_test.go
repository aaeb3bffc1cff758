package docker_test

import (
	"math"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/engine/docker"
	"github.com/backupd/backupd/internal/engine/enginetest"
	"github.com/backupd/backupd/internal/testenv"
)

func TestDockerIsAnEngine(t *testing.T) {
	testenv.Engine(t)
	enginetest.Run(t, func(t *testing.T) enginetest.Env {
		d := testenv.NewDocker(t)
		c, err := docker.Open(t.Context(), docker.Options{Host: d.Host})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() }) // idle connections only
		return enginetest.Env{
			Engine: c,
			Name:   d.Volatile,
			Create: func(s enginetest.Spec) string { return d.Create(asked(d, s)) },
			Image:  d.ShellImage,
			Remove: d.Remove,
			Service: func(s enginetest.ServiceSpec) string {
				return d.Service(testenv.Service{
					Name: s.Name, Image: d.ShellImage(), Mounts: points(s.Mounts), Replicas: s.Replicas, Global: s.Global, StopTimeout: s.StopTimeout,
				})
			},
		}
	})
}

// asked is what the suite asks for, in the words of the API.
func asked(d *testenv.Docker, s enginetest.Spec) testenv.Container {
	c := testenv.Container{
		Name:       s.Name,
		Config:     container.Config{Image: d.ShellImage(), Labels: s.Labels},
		HostConfig: container.HostConfig{AutoRemove: s.AutoRemove},
	}
	if s.StopTimeout > 0 {
		seconds := int(math.Ceil(s.StopTimeout.Seconds()))
		c.StopTimeout = &seconds
	}
	if s.VolumesFrom != "" {
		c.HostConfig.VolumesFrom = []string{s.VolumesFrom}
	}
	c.HostConfig.Mounts = points(s.Mounts)
	return c
}

func points(mounts []engine.Mount) []mount.Mount {
	var points []mount.Mount
	for _, m := range mounts {
		point := mount.Mount{Type: mount.TypeBind, Source: m.Source, Target: m.Destination, ReadOnly: m.ReadOnly}
		if m.Volume != "" {
			point.Type, point.Source = mount.TypeVolume, m.Volume
		}
		points = append(points, point)
	}
	return points
}
