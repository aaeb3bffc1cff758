package project

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Volume is one with the moments that it could go back to.
type Volume struct {
	Name    string
	Moments []time.Time // at least one, in any order
}

// Lag is how much newer data of one volume may be given up for another: that both are of one moment, or near to it. What is further behind
// is a volume that nobody backs up any more, or volumes that are no longer held together.
const Lag = 7 * 24 * time.Hour

// Choose gives the moment that each volume goes back to, by its name.
//
// Volumes that were held together go back to the newest moment that they have in common. Those that were not go to what is nearest to the
// oldest of all such moments, as there is nothing newer of that one.
func Choose(volumes []Volume) map[string]time.Time {
	units := together(volumes)
	anchor := oldest(units)
	chosen := map[string]time.Time{}
	for _, u := range units {
		at := u.newest()
		if at.Sub(anchor) > 0 {
			at = u.nearest(anchor)
		}
		for _, name := range u.names {
			chosen[name] = at
		}
	}
	return chosen
}

// unit is volumes that go back together.
type unit struct {
	names   []string
	moments []time.Time // that all of them have, oldest first
	least   time.Time   // the oldest of the newest of each
}

func (u unit) newest() time.Time { return u.moments[len(u.moments)-1] }

// nearest is the newer one of two that are equally near.
func (u unit) nearest(at time.Time) time.Time {
	return slices.MinFunc(u.moments, func(a, b time.Time) int {
		return cmp.Or(cmp.Compare(a.Sub(at).Abs(), b.Sub(at).Abs()), b.Compare(a))
	})
}

// together joins volumes into units for as long as any two units have a moment in common that gives up little.
func together(volumes []Volume) (units []unit) {
	volumes = slices.SortedFunc(slices.Values(volumes), func(a, b Volume) int { return strings.Compare(a.Name, b.Name) })
	for _, v := range volumes {
		moments := slices.SortedFunc(slices.Values(v.Moments), time.Time.Compare)
		joined := unit{[]string{v.Name}, moments, moments[len(moments)-1]}
		units = slices.DeleteFunc(units, func(u unit) bool {
			both, ok := join(u, joined)
			if ok {
				joined = both
			}
			return ok
		})
		units = append(units, joined)
	}
	return units
}

func join(a, b unit) (both unit, ok bool) {
	both = unit{names: append(slices.Clone(a.names), b.names...), least: a.least}
	if b.least.Before(a.least) {
		both.least = b.least
	}
	for _, at := range a.moments {
		if slices.ContainsFunc(b.moments, at.Equal) {
			both.moments = append(both.moments, at)
		}
	}
	return both, len(both.moments) > 0 && both.least.Sub(both.newest()) <= Lag
}

// oldest is the oldest of the newest moments of the units, but for units that are far behind.
func oldest(units []unit) (anchor time.Time) {
	byNewest := slices.SortedFunc(slices.Values(units), func(a, b unit) int { return a.newest().Compare(b.newest()) })
	if len(byNewest) == 0 {
		return time.Time{}
	}
	last := byNewest[len(byNewest)-1].newest()
	i := slices.IndexFunc(byNewest, func(u unit) bool { return last.Sub(u.newest()) <= Lag })
	return byNewest[i].newest()
}
