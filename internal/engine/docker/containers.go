package docker

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"golang.org/x/sync/errgroup"

	"github.com/backupd/backupd/internal/engine"
)

// inspections is how many containers are looked at at once, and inspection how long each may take.
const (
	inspections = 4
	inspection  = 3 * time.Second
)

// Containers lists all containers, whatever they are doing, in the engine's order. One that vanishes meanwhile is left out. One that the
// engine does not answer about soon, as it is in the middle of a change that may never end, is Mute and holds nobody up.
func (c *Client) Containers(ctx context.Context) ([]engine.Container, error) {
	listing, cancel := bounded(ctx, answerLimit)
	defer cancel()
	list, err := c.api.ContainerList(listing, container.ListOptions{All: true})
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", c.sorted(listing, err))
	}
	found := make([]*engine.Container, len(list))
	g, looking := errgroup.WithContext(ctx)
	g.SetLimit(inspections)
	for i, summary := range list {
		g.Go(func() error {
			soon, cancel := bounded(looking, inspection)
			defer cancel()
			one, err := c.Container(soon, summary.ID)
			switch {
			case errors.Is(err, engine.ErrNotFound):
				return nil
			case err != nil && soon.Err() != nil && looking.Err() == nil:
				one = listed(summary)
			case err != nil:
				return err
			}
			found[i] = &one
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	var containers []engine.Container
	for _, one := range found {
		if one != nil {
			containers = append(containers, *one)
		}
	}
	return containers, nil
}

// Container looks one container up by its id or name.
func (c *Client) Container(ctx context.Context, id string) (engine.Container, error) {
	ctx, cancel := bounded(ctx, answerLimit)
	defer cancel()
	var answer container.InspectResponse
	err := segment(id)
	if err == nil {
		answer, err = c.api.ContainerInspect(ctx, id)
		err = c.sorted(ctx, err)
	}
	var found engine.Container
	if err == nil {
		found, err = inspected(answer)
	}
	if err != nil {
		return engine.Container{}, fmt.Errorf("inspect container %q: %w", id, err)
	}
	return found, nil
}

// Pause freezes the processes of a running container. One that is paused already, or does not run, is engine.ErrConflict; one that is
// frozen without the engine's knowledge is engine.ErrFrozen.
func (c *Client) Pause(ctx context.Context, id string) error {
	return c.change(ctx, "pause", id, answerLimit, func(ctx context.Context) error {
		err := c.api.ContainerPause(ctx, id)
		if errdefs.IsInternal(err) && isFrozen(err.Error()) {
			return fmt.Errorf("%w: %w", engine.ErrFrozen, err)
		}
		return err
	})
}

// isFrozen knows the words of runc and of containerd's shim.
func isFrozen(text string) bool {
	return strings.Contains(text, "container not running") || strings.Contains(text, "cannot pause a paused container")
}

// Unpause lets the processes of a paused container go on. One that is not paused is engine.ErrConflict.
func (c *Client) Unpause(ctx context.Context, id string) error {
	return c.change(ctx, "unpause", id, answerLimit, func(ctx context.Context) error {
		err := c.api.ContainerUnpause(ctx, id)
		if !errdefs.IsInternal(err) {
			return err
		}
		// Engines answer like this, too, when it was not paused.
		if now, lookErr := c.Container(ctx, id); lookErr == nil && now.State != engine.Paused {
			return fmt.Errorf("%w: it is %s: %w", engine.ErrConflict, now.State, err)
		}
		return err
	})
}

// Stop asks the container's first process to end, kills it after the time-out (never, when that is negative), and returns when it has
// ended, and, if it was to be removed then, when that is under way. A container that does not run is a success. When Stop returns an
// error the engine may still carry on with it until the time-out is over, and meanwhile take a Start for needless.
func (c *Client) Stop(ctx context.Context, id string, timeout time.Duration) error {
	limit, seconds := timeout+answerLimit, int(math.Ceil(timeout.Seconds()))
	if timeout < 0 {
		limit, seconds = math.MaxInt64, -1
	}
	return c.change(ctx, "stop", id, limit, func(ctx context.Context) error {
		return c.api.ContainerStop(ctx, id, container.StopOptions{Timeout: &seconds})
	})
}

// Start starts a container. One that runs is a success; one that is paused is engine.ErrConflict.
func (c *Client) Start(ctx context.Context, id string) error {
	return c.change(ctx, "start", id, answerLimit, func(ctx context.Context) error {
		err := c.api.ContainerStart(ctx, id, container.StartOptions{})
		if err != nil && strings.Contains(err.Error(), "task "+id+": already exists") { // of one that was killed while starting it
			return fmt.Errorf("the engine has lost track of the container, and has to be restarted: %w", err)
		}
		return err
	})
}

func (c *Client) change(ctx context.Context, verb, id string, limit time.Duration, call func(context.Context) error) error {
	ctx, cancel := bounded(ctx, limit)
	defer cancel()
	err := segment(id)
	if err == nil {
		err = c.sorted(ctx, call(ctx))
	}
	if err != nil {
		return fmt.Errorf("%s container %q: %w", verb, id, err)
	}
	return nil
}
