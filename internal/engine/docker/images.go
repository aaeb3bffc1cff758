package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"

	"github.com/backupd/backupd/internal/engine"
)

// Platform asks what the engine runs programs of.
func (c *Client) Platform(ctx context.Context) (engine.Platform, error) {
	ctx, cancel := bounded(ctx, answerLimit)
	defer cancel()
	v, err := c.api.ServerVersion(ctx)
	if err != nil {
		return engine.Platform{}, fmt.Errorf("ask the engine for its version: %w", c.sorted(ctx, err))
	}
	return engine.Platform{OS: v.Os, Arch: v.Arch}, nil
}

// HasImage tells whether there is an image of that name.
func (c *Client) HasImage(ctx context.Context, name string) (bool, error) {
	ctx, cancel := bounded(ctx, answerLimit)
	defer cancel()
	_, err := c.api.ImageInspect(ctx, name)
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("inspect image %s: %w", name, c.sorted(ctx, err))
	}
	return true, nil
}

// LoadImage takes in images out of an archive as docker save makes it.
func (c *Client) LoadImage(ctx context.Context, from io.Reader) error {
	ctx, cancel := bounded(ctx, 5*answerLimit)
	defer cancel()
	answer, err := c.api.ImageLoad(ctx, from, client.ImageLoadWithQuiet(true))
	if err == nil {
		err = errors.Join(finished(answer.Body), answer.Body.Close())
	}
	if err != nil {
		return fmt.Errorf("load an image: %w", c.sorted(ctx, err))
	}
	return nil
}

// Images lists the names of the images that have a label.
func (c *Client) Images(ctx context.Context, label string) (names []string, err error) {
	ctx, cancel := bounded(ctx, answerLimit)
	defer cancel()
	list, err := c.api.ImageList(ctx, image.ListOptions{Filters: filters.NewArgs(filters.Arg("label", label))})
	if err != nil {
		return nil, fmt.Errorf("list images: %w", c.sorted(ctx, err))
	}
	for _, one := range list {
		names = append(names, one.RepoTags...)
	}
	return names, nil
}

// RemoveImage removes an image by its name. One that a container uses is engine.ErrConflict.
func (c *Client) RemoveImage(ctx context.Context, name string) error {
	ctx, cancel := bounded(ctx, answerLimit)
	defer cancel()
	if _, err := c.api.ImageRemove(ctx, name, image.RemoveOptions{PruneChildren: true}); err != nil {
		return fmt.Errorf("remove image %s: %w", name, c.sorted(ctx, err))
	}
	return nil
}

// finished reads the engine's account of something to its end, and gives the error that it may tell of.
func finished(account io.Reader) error {
	for lines := json.NewDecoder(account); ; {
		var line struct{ Error string }
		switch err := lines.Decode(&line); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read the engine's account: %w", err)
		case line.Error != "":
			return errors.New(line.Error)
		}
	}
}
