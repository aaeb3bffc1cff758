package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/backupd/backupd/internal/durable"
	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/engine/docker"
	"github.com/backupd/backupd/internal/guard"
)

// startSibling starts a guard in a container like this one.
func (a *app) startSibling(ctx context.Context) (*guard.Guard, error) {
	eng, err := docker.Open(ctx, docker.Options{Log: a.log})
	if err != nil {
		return nil, err
	}
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	used, err := a.useSiblings(ctx, eng)
	if err != nil {
		return nil, errors.Join(err, eng.Close())
	}
	name := "backupd-guard-" + strings.ToLower(rand.Text())
	stream, err := eng.RunSibling(ctx, engine.Sibling{
		Of: a.self, Name: name, Labels: map[string]string{engine.GuardLabel: a.ledger.Owner()},
		Command: []string{program, guardCommand, "--of", a.self, "--container", name},
		Env:     slices.DeleteFunc(os.Environ(), notForGuards),
	})
	if err != nil {
		return nil, errors.Join(err, used.Unlock(), eng.Close())
	}
	return &guard.Guard{
		Orders: orders{stream}, Answers: stream,
		Wait: func() error { return errors.Join(stream.Close(), used.Unlock(), eng.Close()) },
	}, nil
}

// useSiblings keeps the containers of guards from being swept while one is made and used. First it sweeps those that others left, if it can.
func (a *app) useSiblings(ctx context.Context, eng *docker.Client) (*durable.Lock, error) {
	lock := filepath.Join(a.cfg.StateDir, "guards.lock")
	unused, err := durable.TryLock(lock)
	if err == nil {
		err = errors.Join(sweepSiblings(ctx, eng, a.ledger.Owner()), unused.Unlock())
	}
	if err != nil && !errors.Is(err, durable.ErrLocked) {
		a.log.Warn("the container of a guard that died may be left", "err", err)
	}
	return durable.ShareLock(ctx, lock)
}

// sweepSiblings removes the containers of this owner's guards that do not run: whoever made one died before it was started, or the engine
// was asked to kill it, and does not start it again. One that runs goes by itself when it has let go.
func sweepSiblings(ctx context.Context, eng *docker.Client, owner string) error {
	containers, err := eng.Containers(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, c := range containers {
		idle := c.State == engine.Created || c.State == engine.Exited || c.State == engine.Dead
		if !idle || c.Labels[engine.GuardLabel] != owner {
			continue
		}
		if err := eng.DeleteIdle(ctx, c.ID); !errors.Is(err, engine.ErrNotFound) && !errors.Is(err, engine.ErrConflict) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// orders is the way to the stdin of a container.
type orders struct{ engine.Stream }

func (o orders) Close() error { return o.CloseWrite() }

// notForGuards tells whether a variable is none that a guard needs. Others may be secrets, which are not to stand in the settings of one
// more container.
func notForGuards(variable string) bool {
	name, _, _ := strings.Cut(variable, "=")
	return !strings.HasPrefix(name, "DOCKER_") && !strings.HasPrefix(name, "BACKUPD_STATE_DIR") && !strings.HasPrefix(name, "BACKUPD_LOG_")
}

// guardInContainer is guard in a container of its own, which the engine starts again for as long as it is there: it goes when nothing is
// left to let go. One that was started again finds what it was about in its journal, and nobody who asks for anything.
func (a *app) guardInContainer(ctx context.Context, own string) error {
	if err := a.letGo(ctx); err != nil {
		return err
	}
	if err := a.guard(ctx); err != nil {
		a.log.Warn("the hold did not end as it was meant to", "err", err)
	}
	if err := a.letGo(ctx); err != nil {
		return err
	}
	eng, err := docker.Open(ctx, docker.Options{Log: a.log})
	if err != nil {
		return err
	}
	return eng.DeleteContainer(ctx, own)
}
