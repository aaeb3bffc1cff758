// Package engine holds the nouns of the Docker world as the rest of backupd uses them.
//
// The door to the Docker API is engine/docker; engine/dir is a folder of folders that stands in for an engine. What each user needs
// of them it declares itself.
package engine

import (
	"errors"
	"io"
	"path"
	"slices"
	"strings"
	"time"
)

// The errors that callers branch on. Implementations wrap them.
var (
	ErrNotFound    = errors.New("not found")
	ErrConflict    = errors.New("in conflict with its present state") // already paused, not running, in use, ...
	ErrUnreachable = errors.New("engine cannot be reached")
	// ErrFrozen is of a container that is paused and that the engine takes for running. One that has just ended may look like that, too.
	ErrFrozen = errors.New("it is frozen, and the engine takes it for running: only a restart of it helps")
	// ErrNoManager is of services only. An engine that was just started is none yet.
	ErrNoManager = errors.New("the engine is not (or not yet) a working manager of a swarm")
)

// Info is an engine's own account of itself.
type Info struct {
	ID      string
	Name    string // of its host
	Version string
	API     string // version that is spoken with it
	Root    string // its data folder, as a path on its host
}

// Platform is what an engine runs programs of, in the words of Go's GOOS and GOARCH.
type Platform struct{ OS, Arch string }

// Volume is a named volume.
type Volume struct {
	Name       string
	Driver     string
	Options    map[string]string // of the driver
	Labels     map[string]string
	Mountpoint string // folder with its content, as a path on the engine's host; "" where the driver tells none
}

// Project is the compose project that made the volume, or "".
func (v Volume) Project() string { return v.Labels[composeProject] }

// Fleeting tells whether the volume lies in memory, and only while a container uses it.
func (v Volume) Fleeting() bool {
	return v.Driver == "local" && (v.Options["type"] == "tmpfs" || v.Options["type"] == "ramfs")
}

// State is what a container is doing.
type State string

// The states of a container.
const (
	Created    State = "created"
	Running    State = "running"
	Paused     State = "paused"
	Restarting State = "restarting"
	Removing   State = "removing"
	Exited     State = "exited"
	Dead       State = "dead"
)

// Healthy is what a container's health check says when all is well.
const Healthy = "healthy"

// Container is a container with all that decides how it is held, restarted and recognised.
type Container struct {
	ID          string
	Name        string // without the API's leading slash
	Image       string // as it was named
	ImageID     string // digest of the image's configuration
	Labels      map[string]string
	State       State
	Started     time.Time // of its present or last run; zero when it never ran
	Ending      Ending    // of its last run, when that is over
	StopTimeout time.Duration
	AutoRemove  bool   // deleted when it stops (--rm)
	Health      string // Healthy, "unhealthy", "starting"; "" without a health check
	Mounts      []Mount
	Networks    []Network // that it is attached to
	NetworkOf   string    // id or name of the container whose network it shares; "" where it has its own
	Published   []string  // TCP ports of the host that lead to it

	// Mute says that the engine did not answer when it was asked about the container. What is known of it is what a list of all says:
	// its names, its labels, its mounts, and a state that may be out of date.
	Mute bool
}

// Network is a container's place in a network.
type Network struct {
	Name  string
	ID    string
	Names []string // by which others in the network reach the container, addresses too
}

// Mount is a place in a container where something of the outside shows.
type Mount struct {
	Volume      string // name; "" for a bind mount
	Source      string // path on the engine's host
	Destination string // path in the container
	ReadOnly    bool
}

// Labels that docker compose gives to what it makes.
const (
	composeProject = "com.docker.compose.project"
	composeService = "com.docker.compose.service"
)

// Project is the compose project that the container belongs to, or "".
func (c Container) Project() string { return c.Labels[composeProject] }

// Service is the compose service that the container belongs to, or "".
func (c Container) Service() string { return c.Labels[composeService] }

// In tells whether the container is attached to the network.
func (c Container) In(network string) bool {
	return slices.ContainsFunc(c.Networks, func(n Network) bool { return n.ID == network })
}

// Active tells whether processes of the container exist, for all that is known, so that they could write now or once they are resumed.
func (c Container) Active() bool {
	return c.Mute || c.State == Running || c.State == Paused || c.State == Restarting
}

// Mounting tells whether the container mounts the volume, by its name or by binding its folder or one inside it, and whether it
// could write to it. One that binds a folder above (as file browsers, monitors and backupd itself do) is not a user of the volume, and
// neither is a helper or guard of backupd.
func (c Container) Mounting(v Volume) (mounts, writes bool) {
	if c.Labels[HelperLabel] != "" || c.Labels[GuardLabel] != "" {
		return false, false
	}
	for _, m := range c.Mounts {
		if m.Volume == v.Name || m.Volume == "" && v.Mountpoint != "" && within(m.Source, v.Mountpoint) {
			mounts = true
			writes = writes || !m.ReadOnly
		}
	}
	return mounts, writes
}

func within(inner, outer string) bool {
	inner, outer = path.Clean(inner), path.Clean(outer)
	return inner == outer || strings.HasPrefix(inner, strings.TrimSuffix(outer, "/")+"/")
}

// Command is a program that is run inside a container, beside what runs there anyway.
type Command struct {
	Args []string // the program first
	Env  []string // NAME=VALUE, besides what the container has
	User string   // who runs it; "" for the one that the container runs as
	// Stdin is closed to end the command's input, on which nothing ever comes. Nil is an input that is at its end from the start.
	Stdin          <-chan struct{}
	Stdout, Stderr io.Writer // nil for what is not wanted
}

// Event is something that happened in an engine.
type Event struct {
	Type   string // "container" or "volume"
	Action string // as the API names it: "start", "unpause", "die", "create", "mount", ...
	ID     string // of the container, or name of the volume
	Time   time.Time
	// Attributes as the API gives them, labels of a container among them.
	Attributes map[string]string
}
