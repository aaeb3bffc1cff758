package main

import (
	"context"
	"slices"

	"github.com/backupd/backupd/internal/plan"
)

// enrolled opens the source and gives the volumes of it that are enrolled.
func (a *app) enrolled(ctx context.Context) (source, []plan.Volume, error) {
	src, err := a.source(ctx)
	if err != nil {
		return nil, nil, err
	}
	volumes, err := a.finder(src).Volumes(ctx)
	return src, volumes, err
}

// chosen opens the source and gives the named volumes of it, or all that are enrolled. A name that means none of them is an error
// before anything is done.
func (a *app) chosen(ctx context.Context, names []string) (source, []plan.Volume, error) {
	src, enrolled, err := a.enrolled(ctx)
	if err != nil {
		return nil, nil, err
	}
	if len(names) == 0 {
		if len(enrolled) == 0 {
			return nil, nil, usagef("no volume is enrolled: label a volume, or a container that mounts it, with backupd.enable=true")
		}
		return src, enrolled, nil
	}
	var due []plan.Volume
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		i := slices.IndexFunc(enrolled, func(v plan.Volume) bool { return v.Name == name })
		if i < 0 {
			return nil, nil, usagef("volume %q is not enrolled: see \"backupd volumes\", and label it or a container that mounts it with backupd.enable=true", name)
		}
		due = append(due, enrolled[i])
	}
	return src, due, nil
}
