package docker

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/volume"

	"github.com/backupd/backupd/internal/engine"
)

// defaultDriver is the driver of volumes that name none.
const defaultDriver = "local"

// Volumes lists all volumes, sorted by name.
func (c *Client) Volumes(ctx context.Context) ([]engine.Volume, error) {
	ctx, cancel := bounded(ctx, answerLimit)
	defer cancel()
	list, err := c.api.VolumeList(ctx, volume.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list volumes: %w", c.sorted(ctx, err))
	}
	for _, warning := range list.Warnings { // of drivers whose volumes are therefore not listed
		c.log.Warn("engine cannot list all volumes", "warning", warning)
	}
	var volumes []engine.Volume
	for _, v := range list.Volumes {
		if v != nil {
			volumes = append(volumes, translated(*v))
		}
	}
	slices.SortFunc(volumes, func(a, b engine.Volume) int { return strings.Compare(a.Name, b.Name) })
	return volumes, nil
}

// Volume looks one volume up by its name.
func (c *Client) Volume(ctx context.Context, name string) (engine.Volume, error) {
	ctx, cancel := bounded(ctx, answerLimit)
	defer cancel()
	if err := segment(name); err != nil {
		return engine.Volume{}, fmt.Errorf("inspect volume %q: %w", name, err)
	}
	v, err := c.api.VolumeInspect(ctx, name)
	if err != nil {
		return engine.Volume{}, fmt.Errorf("inspect volume %q: %w", name, c.sorted(ctx, err))
	}
	return translated(v), nil
}

// CreateVolume makes a volume that is not there yet, with name, driver, options and labels of v. One of that name is
// engine.ErrConflict: for the API it would be a success, without any change.
func (c *Client) CreateVolume(ctx context.Context, v engine.Volume) (engine.Volume, error) {
	ctx, cancel := bounded(ctx, answerLimit)
	defer cancel()
	made, err := c.createVolume(ctx, v)
	if err != nil {
		return engine.Volume{}, fmt.Errorf("create volume %q: %w", v.Name, err)
	}
	return made, nil
}

func (c *Client) createVolume(ctx context.Context, v engine.Volume) (engine.Volume, error) {
	if v.Name == "" { // the engine would make up a name
		return engine.Volume{}, fmt.Errorf("it has no name")
	}
	if err := segment(v.Name); err != nil {
		return engine.Volume{}, err
	}
	v.Driver = cmp.Or(v.Driver, defaultDriver)
	switch _, err := c.api.VolumeInspect(ctx, v.Name); {
	case err == nil:
		return engine.Volume{}, fmt.Errorf("%w: it exists already", engine.ErrConflict)
	case !errdefs.IsNotFound(err):
		return engine.Volume{}, c.sorted(ctx, err)
	}
	answer, err := c.api.VolumeCreate(ctx, volume.CreateOptions{Name: v.Name, Driver: v.Driver, DriverOpts: v.Options, Labels: v.Labels})
	if err != nil {
		return engine.Volume{}, c.sorted(ctx, err)
	}
	// Somebody else may have been faster.
	made := translated(answer)
	if made.Name != v.Name || made.Driver != v.Driver || !maps.Equal(made.Options, v.Options) || !maps.Equal(made.Labels, v.Labels) {
		return engine.Volume{}, fmt.Errorf("%w: another of this name was created meanwhile", engine.ErrConflict)
	}
	return made, nil
}

// RemoveVolume removes a volume with its content. One that a container mounts, running or not, is engine.ErrConflict.
func (c *Client) RemoveVolume(ctx context.Context, name string) error {
	ctx, cancel := bounded(ctx, answerLimit)
	defer cancel()
	if err := segment(name); err != nil {
		return fmt.Errorf("remove volume %q: %w", name, err)
	}
	if err := c.api.VolumeRemove(ctx, name, false); err != nil {
		return fmt.Errorf("remove volume %q: %w", name, c.sorted(ctx, err))
	}
	return nil
}

func translated(v volume.Volume) engine.Volume {
	return engine.Volume{Name: v.Name, Driver: v.Driver, Options: v.Options, Labels: v.Labels, Mountpoint: v.Mountpoint}
}
