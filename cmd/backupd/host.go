package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/backupd/backupd/internal/catalog"
)

// scope says of which hosts' snapshots a command is. The zero value is this host alone, as it is for every command that removes, changes or
// makes any.
type scope struct {
	host  string
	every bool
}

const (
	hostFlag      = "host"
	everyHostFlag = "all-hosts"
)

// addHost lets a command look at another host's snapshots.
func addHost(c *cobra.Command) {
	c.Flags().String(hostFlag, "", "of the host `NAME` that shares the targets, not of this one")
}

// addHosts lets a command look at another host's snapshots, or at those of all.
func addHosts(c *cobra.Command) {
	addHost(c)
	c.Flags().Bool(everyHostFlag, false, "of every host that shares the targets")
}

// scopeOf reads the flags of a command, which need not have them.
func scopeOf(c *cobra.Command) (scope, error) {
	var s scope
	if f := c.Flags().Lookup(everyHostFlag); f != nil {
		s.every = f.Value.String() == "true"
	}
	f := c.Flags().Lookup(hostFlag)
	if f == nil || !f.Changed {
		return s, nil
	}
	s.host = f.Value.String()
	if s.host == "" {
		return s, usagef("--host: name a host")
	}
	if s.every {
		return s, usagef("--host and --all-hosts: one or the other")
	}
	return s, nil
}

func (s scope) query(volumes []string, id string) catalog.Query {
	return catalog.Query{Host: s.host, EveryHost: s.every, Volumes: volumes, ID: id}
}

// known fails for a host that was named and has no snapshots on any target, and names those that have.
func (a *app) known(ctx context.Context) error {
	if a.scope.host == "" {
		return nil
	}
	there := map[string]bool{}
	for _, t := range a.targets {
		hosts, err := t.Catalog.Hosts(ctx)
		if err != nil {
			return fmt.Errorf("target %s: %w", t.Name, err)
		}
		for _, h := range hosts {
			there[h] = true
		}
	}
	switch {
	case there[a.scope.host]:
		return nil
	case len(there) == 0:
		return usagef("--host: no host has snapshots on the targets")
	}
	return usagef("--host: there are no snapshots of host %q: the targets have some of %q", a.scope.host, slices.Sorted(maps.Keys(there)))
}

// hosts names those that are looked at, for people.
func (a *app) hosts() string {
	if a.scope.every {
		return "any host"
	}
	return fmt.Sprintf("host %q", cmp.Or(a.scope.host, a.host))
}

// volumeName is a volume's name for people: with its host, when that need not be this one.
func (a *app) volumeName(host, volume string) string {
	if a.scope == (scope{}) {
		return printable(volume)
	}
	return fmt.Sprintf("%s of host %s", printable(volume), printable(host))
}
