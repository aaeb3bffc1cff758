package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"

	"github.com/backupd/backupd/internal/engine"
)

// Events yields what happened to containers and volumes since then, by the engine's clock (from now on when it is zero), and goes on
// until ctx ends or the stream breaks. An error is the last thing that it yields, and there is always one: to go on, ask again since
// the last event seen. Events may then come twice, and an engine that was restarted has forgotten what came before.
func (c *Client) Events(ctx context.Context, since time.Time) iter.Seq2[engine.Event, error] {
	return func(yield func(engine.Event, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		messages, failed := c.api.Events(ctx, listen(since))
		for {
			select {
			case m := <-messages:
				if !yield(happened(m), nil) {
					return
				}
			case err := <-failed:
				yield(engine.Event{}, fmt.Errorf("follow events: %w", c.broken(ctx, err)))
				return
			}
		}
	}
}

func listen(since time.Time) events.ListOptions {
	options := events.ListOptions{
		Filters: filters.NewArgs(filters.Arg("type", string(events.ContainerEventType)), filters.Arg("type", string(events.VolumeEventType))),
	}
	if !since.IsZero() {
		options.Since = fmt.Sprintf("%d.%09d", since.Unix(), since.Nanosecond())
	}
	return options
}

// broken takes a stream that ends, however cleanly, for an engine that went away.
func (c *Client) broken(ctx context.Context, err error) error {
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: the stream ended", engine.ErrUnreachable)
	}
	return c.sorted(ctx, err)
}

func happened(m events.Message) engine.Event {
	return engine.Event{
		Type:       string(m.Type),
		Action:     string(m.Action),
		ID:         m.Actor.ID,
		Time:       time.Unix(0, m.TimeNano),
		Attributes: m.Actor.Attributes,
	}
}
