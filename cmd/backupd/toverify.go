package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/backupd/backupd/internal/backup"
	"github.com/backupd/backupd/internal/snapshot"
	"github.com/backupd/backupd/internal/verify"
)

// toRead is a copy of a snapshot that is yet to be looked up: there may be more of them than fit into memory whole.
type toRead struct {
	snapshot.Ref
	from backup.Target
}

// toVerify gives the named snapshots, or the newest good one of each volume and target, or all of them: by host, volume and time. What could be
// listed is given also when there is an error.
func (a *app) toVerify(ctx context.Context, names, volumes []string, all bool) (chosen []toRead, err error) {
	if len(names) > 0 {
		return a.named(ctx, names, volumes)
	}
	var errs []error
	for _, t := range a.targets {
		for l, err := range t.Catalog.Each(ctx, a.scope.query(volumes, "")) {
			if !all {
				l.Snapshots = verify.Newest(l.Snapshots)
			}
			for _, s := range l.Snapshots {
				chosen = append(chosen, toRead{s.Ref(), t})
			}
			if err := errors.Join(err, l.Err()); err != nil {
				errs = append(errs, fmt.Errorf("target %s: %w", t.Name, err))
			}
		}
	}
	if len(chosen) == 0 && len(errs) == 0 {
		return nil, a.known(ctx)
	}
	slices.SortStableFunc(chosen, func(x, y toRead) int {
		return cmp.Or(strings.Compare(x.Host, y.Host), strings.Compare(x.Volume, y.Volume), strings.Compare(string(x.ID), string(y.ID)))
	})
	return chosen, errors.Join(errs...)
}

func (a *app) named(ctx context.Context, names, volumes []string) (chosen []toRead, unlisted error) {
	for _, name := range names {
		there, err := a.stored(ctx, a.scope.query(volumes, strings.TrimSpace(name)))
		found, failed := match(there, name, err)
		if failed != nil {
			return nil, failed
		}
		for _, s := range found {
			chosen = append(chosen, toRead{s.Ref(), s.target})
		}
		unlisted = errors.Join(unlisted, err)
	}
	return chosen, unlisted
}
