package testenv

import (
	"context"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/swarm"
)

// Service is what a test asks of a swarm service. Image is needed; the network is the host's, as a private engine has no other for
// services.
type Service struct {
	Name        string
	Image       string
	Command     []string
	Mounts      []mount.Mount
	Replicas    uint64
	Global      bool
	StopTimeout time.Duration // 0 is the engine's own
}

// Service makes a service and gives its id. The engine is a swarm of one node from then on.
func (d *Docker) Service(s Service) string {
	d.t.Helper()
	d.swarm()
	spec := swarm.ServiceSpec{Annotations: swarm.Annotations{Name: d.Name(s.Name)}}
	spec.TaskTemplate.ContainerSpec = &swarm.ContainerSpec{Image: s.Image, Command: s.Command, Mounts: s.Mounts}
	spec.TaskTemplate.Networks = []swarm.NetworkAttachmentConfig{{Target: "host"}}
	if s.StopTimeout > 0 {
		spec.TaskTemplate.ContainerSpec.StopGracePeriod = &s.StopTimeout
	}
	if s.Global {
		spec.Mode.Global = &swarm.GlobalService{}
	} else {
		spec.Mode.Replicated = &swarm.ReplicatedService{Replicas: &s.Replicas}
	}
	made, err := d.API.ServiceCreate(d.t.Context(), spec, swarm.ServiceCreateOptions{})
	d.must("create service "+s.Name, err)
	d.t.Cleanup(func() { d.removeService(made.ID) })
	return made.ID
}

// swarm makes the engine a swarm, unless another test has done so.
func (d *Docker) swarm() {
	d.t.Helper()
	_, err := d.API.SwarmInit(d.t.Context(), swarm.InitRequest{ListenAddr: "127.0.0.1:0", AdvertiseAddr: "127.0.0.1"})
	if err != nil && strings.Contains(err.Error(), "already part of a swarm") {
		err = nil
	}
	d.must("make a swarm", err)
}

// removeService removes a service with the containers of its tasks, which would keep volumes in use.
func (d *Docker) removeService(id string) {
	d.t.Helper()
	ctx, cancel := afterwards(d.t.Context())
	defer cancel()
	d.must("remove service "+id, absent(d.API.ServiceRemove(ctx, id)))
	for _, c := range d.taskContainers(ctx, id) {
		d.Remove(c.ID)
	}
}

func (d *Docker) taskContainers(ctx context.Context, service string) []container.Summary {
	d.t.Helper()
	list, err := d.API.ContainerList(ctx, container.ListOptions{
		All: true, Filters: filters.NewArgs(filters.Arg("label", "com.docker.swarm.service.id="+service)),
	})
	d.must("list the containers of service "+service, err)
	return list
}
