package engine

import "time"

// ServiceKind says how swarm decides how many tasks a service has.
type ServiceKind string

// The kinds of service. Only a replicated one has a count that can be set to nothing.
const (
	Replicated    ServiceKind = "replicated"
	Global        ServiceKind = "global"
	ReplicatedJob ServiceKind = "replicated job"
	GlobalJob     ServiceKind = "global job"
)

// Service is a swarm service: what makes the containers of its tasks, and makes others when they stop.
type Service struct {
	ID          string
	Name        string
	Kind        ServiceKind
	Replicas    uint64        // that a replicated one should have
	StopTimeout time.Duration // that its tasks are given to end by themselves
}

// Tasks are how many tasks of a service run, being healthy if they have a health check, and how many should.
type Tasks struct{ Running, Wanted uint64 }

// Labels that swarm gives to the containers of tasks.
const (
	swarmService     = "com.docker.swarm.service.id"
	swarmServiceName = "com.docker.swarm.service.name"
	swarmTask        = "com.docker.swarm.task.id"
)

// Task tells whether the container is a task's, which swarm replaces when it stops.
func (c Container) Task() bool { return c.Labels[swarmTask] != "" }

// SwarmService is the id of the swarm service that the container belongs to, or "".
func (c Container) SwarmService() string { return c.Labels[swarmService] }

// SwarmServiceName is the name of the swarm service that the container belongs to, or "".
func (c Container) SwarmServiceName() string { return c.Labels[swarmServiceName] }

// SwarmService is the id of the swarm service that a container of the event belongs to, or "".
func (e Event) SwarmService() string { return e.Attributes[swarmService] }
