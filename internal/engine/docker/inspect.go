package docker

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/go-connections/nat"

	"github.com/backupd/backupd/internal/engine"
)

// What an engine assumes of a container that says nothing itself, and the most that is believed of one that does (seconds; the API's
// own limit on some platforms, and far from overflowing a duration).
const (
	defaultStop = 10 * time.Second
	longestStop = 1<<31 - 1
)

// inspected translates an answer and believes nothing of its shape.
func inspected(answer container.InspectResponse) (engine.Container, error) {
	if answer.ContainerJSONBase == nil || answer.State == nil || answer.Config == nil || answer.HostConfig == nil || answer.ID == "" {
		return engine.Container{}, fmt.Errorf("the engine's answer lacks a part")
	}
	started, err := moment(answer.State.StartedAt)
	if err != nil {
		return engine.Container{}, err
	}
	c := engine.Container{
		ID:          answer.ID,
		Name:        strings.TrimPrefix(answer.Name, "/"),
		Image:       answer.Config.Image,
		ImageID:     answer.ContainerJSONBase.Image,
		Labels:      answer.Config.Labels,
		State:       state(answer.State),
		Started:     started,
		Ending:      engine.Ending{Exit: answer.State.ExitCode, OutOfMemory: answer.State.OOMKilled, Reason: answer.State.Error},
		StopTimeout: stopTimeout(answer.Config.StopTimeout),
		AutoRemove:  answer.HostConfig.AutoRemove,
		Mounts:      mounts(answer.Mounts),
		NetworkOf:   answer.HostConfig.NetworkMode.ConnectedContainer(),
	}
	if n := answer.NetworkSettings; n != nil {
		c.Networks, c.Published = networks(n.Networks), published(n.Ports)
	}
	if h := answer.State.Health; h != nil && h.Status != container.NoHealthcheck {
		c.Health = h.Status
	}
	return c, nil
}

// listed is what is known of a container that the engine does not answer about.
func listed(summary container.Summary) engine.Container {
	c := engine.Container{
		ID:      summary.ID,
		Name:    summary.ID,
		Image:   summary.Image,
		ImageID: summary.ImageID,
		Labels:  summary.Labels,
		State:   engine.State(summary.State),
		Mute:    true,
		Mounts:  mounts(summary.Mounts),
	}
	if len(summary.Names) > 0 {
		c.Name = strings.TrimPrefix(summary.Names[0], "/")
	}
	return c
}

// state takes a container for running that runs in a way that only other engines know.
func state(s *container.State) engine.State {
	switch known := engine.State(s.Status); known {
	case engine.Created, engine.Running, engine.Paused, engine.Restarting, engine.Removing, engine.Exited, engine.Dead:
		return known
	}
	if s.Running {
		return engine.Running
	}
	return engine.Exited
}

// moment reads a time of the API, which stands for "never" with the year 1, or with nothing.
func moment(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	return time.Parse(time.RFC3339Nano, text)
}

// stopTimeout is negative for a container that is never to be killed.
func stopTimeout(seconds *int) time.Duration {
	switch {
	case seconds == nil:
		return defaultStop
	case *seconds < 0:
		return -1
	default:
		return time.Duration(min(*seconds, longestStop)) * time.Second
	}
}

// mounts leaves out what shows nothing of the outside.
func mounts(points []container.MountPoint) []engine.Mount {
	var shown []engine.Mount
	for _, p := range points {
		m := engine.Mount{Source: p.Source, Destination: p.Destination, ReadOnly: !p.RW}
		switch p.Type {
		case mount.TypeVolume, mount.TypeCluster:
			m.Volume = p.Name
		case mount.TypeTmpfs:
			continue
		}
		shown = append(shown, m)
	}
	return shown
}

// networks are in the order of their names.
func networks(of map[string]*network.EndpointSettings) []engine.Network {
	var found []engine.Network
	for _, name := range slices.Sorted(maps.Keys(of)) {
		if of[name] == nil {
			continue
		}
		n := engine.Network{Name: name, ID: of[name].NetworkID}
		for _, reached := range slices.Concat(of[name].Aliases, of[name].DNSNames, []string{of[name].IPAddress, of[name].GlobalIPv6Address}) {
			if reached != "" && !slices.Contains(n.Names, reached) {
				n.Names = append(n.Names, reached)
			}
		}
		found = append(found, n)
	}
	return found
}

// published are the host's TCP ports that lead to a container, in order.
func published(ports nat.PortMap) []string {
	var found []string
	for port, bindings := range ports {
		for _, b := range bindings {
			if port.Proto() == "tcp" && !slices.Contains(found, b.HostPort) {
				found = append(found, b.HostPort)
			}
		}
	}
	slices.Sort(found)
	return found
}
