package quiesce

import (
	"fmt"
	"net"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/backupd/backupd/internal/engine"
)

// Door is the address at which the engine is reached over a network; zero where that is a socket of the host's. A container may stand
// there, as with a proxy before the engine's socket. It is never held: nobody could let anything go any more.
type Door struct{ Host, Port string }

// DoorAt reads an address as DOCKER_HOST has it.
func DoorAt(address string) Door {
	u, err := url.Parse(address)
	if err != nil || u.Scheme == "unix" || u.Hostname() == "" { // nothing that a client could have reached an engine at
		return Door{}
	}
	return Door{Host: strings.ToLower(strings.TrimSuffix(u.Hostname(), ".")), Port: u.Port()}
}

// containers are those that the engine is reached through, as far as can be told: the ones of that name or address where self can reach
// it; else the ones that publish that port on the host, or serve the engine's socket from the host's own network. Whatever shares a
// network with one of them counts too, as it may be what really listens there.
func (d Door) containers(all []engine.Container, self string) []engine.Container {
	if d.Host == "" {
		return nil
	}
	running := slices.DeleteFunc(slices.Clone(all), func(c engine.Container) bool { return !c.Active() })
	from := stacks(running, func(c engine.Container) bool { return isSelf(c.ID, self) })
	for _, at := range []func(engine.Container) bool{
		func(c engine.Container) bool { return d.isLoopback() && sharesStack(c, from) },
		func(c engine.Container) bool { return d.names(c, from) },
		func(c engine.Container) bool { return slices.Contains(c.Published, d.Port) },
		servesSocket,
	} {
		behind := stacks(running, func(c engine.Container) bool { return !isSelf(c.ID, self) && at(c) })
		if len(behind) > 0 {
			return slices.DeleteFunc(running, func(c engine.Container) bool { return isSelf(c.ID, self) || !sharesStack(c, behind) })
		}
	}
	return nil
}

func (d Door) isLoopback() bool {
	ip := net.ParseIP(d.Host)
	return d.Host == "localhost" || ip != nil && ip.IsLoopback()
}

// names tells whether the container is what the door's host means to those that it is reached from; to anybody, where it is not known
// from where that is.
func (d Door) names(c engine.Container, from []engine.Container) bool {
	known := func(name string) bool { return d.Host == strings.ToLower(name) }
	address := net.ParseIP(d.Host) != nil // which means the same everywhere on the engine's host
	for _, n := range c.Networks {
		if address || len(from) == 0 || slices.ContainsFunc(from, func(f engine.Container) bool { return f.In(n.ID) }) {
			if known(c.Name) || known(c.Service()) || d.isService(c) || slices.ContainsFunc(n.Names, known) {
				return true
			}
		}
	}
	return false
}

// isService tells whether the host is the name of the container's swarm service, in full or within its stack.
func (d Door) isService(c engine.Container) bool {
	const stack = "com.docker.stack.namespace"
	name := strings.ToLower(c.SwarmServiceName())
	return name != "" && (d.Host == name || d.Host == strings.TrimPrefix(name, strings.ToLower(c.Labels[stack])+"_"))
}

// servesSocket tells whether the container has the engine's socket and listens in the network of the host, if it listens.
func servesSocket(c engine.Container) bool {
	socket := func(m engine.Mount) bool { return m.Volume == "" && path.Base(m.Source) == "docker.sock" }
	host := func(n engine.Network) bool { return n.Name == "host" }
	return slices.ContainsFunc(c.Networks, host) && slices.ContainsFunc(c.Mounts, socket)
}

// stacks are the chosen containers, and those whose network they share.
func stacks(all []engine.Container, chosen func(engine.Container) bool) []engine.Container {
	var found []engine.Container
	for _, c := range all {
		if chosen(c) {
			found = append(found, c)
			for _, owner := range all {
				if c.NetworkOf != "" && (owner.ID == c.NetworkOf || owner.Name == c.NetworkOf) {
					found = append(found, owner)
				}
			}
		}
	}
	return found
}

// sharesStack tells whether the container is one of those, or shares the network of one.
func sharesStack(c engine.Container, with []engine.Container) bool {
	return slices.ContainsFunc(with, func(other engine.Container) bool {
		return c.ID == other.ID || c.NetworkOf != "" && (c.NetworkOf == other.ID || c.NetworkOf == other.Name)
	})
}

// tooClose says why a container that the engine is reached through cannot be stopped.
func tooClose(c engine.Container) error {
	return fmt.Errorf("container %q would have to be stopped, and the engine is reached through it (DOCKER_HOST): "+
		"reach the engine by its socket for this", c.Name)
}
