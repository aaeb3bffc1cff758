package quiesce

import (
	"context"
	"maps"
	"sync"
)

// claims says which hold a container belongs to, so that none resumes what another still needs.
type claims struct {
	mu    sync.Mutex
	owner map[string]*Hold
	freed chan struct{} // closed when any claim is dropped
}

// wait claims all the containers at once, so that two holds can never each wait for the other; it tells whether it had to wait.
func (c *claims) wait(ctx context.Context, h *Hold, ids []string) (waited bool, err error) {
	for {
		freed, ok := c.try(h, ids)
		if ok {
			return waited, nil
		}
		waited = true
		select {
		case <-freed:
		case <-ctx.Done():
			return waited, context.Cause(ctx)
		}
	}
}

// try claims all the containers or none, and then gives the channel to wait on before trying again.
func (c *claims) try(h *Hold, ids []string) (freed <-chan struct{}, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range ids {
		if owner := c.owner[id]; owner != nil && owner != h {
			return c.freed, false
		}
	}
	if c.owner == nil {
		c.owner, c.freed = make(map[string]*Hold), make(chan struct{})
	}
	for _, id := range ids {
		c.owner[id] = h
	}
	return nil, true
}

// drop ends all claims of the hold.
func (c *claims) drop(h *Hold) {
	c.mu.Lock()
	defer c.mu.Unlock()
	claimed := len(c.owner)
	maps.DeleteFunc(c.owner, func(_ string, owner *Hold) bool { return owner == h })
	if len(c.owner) < claimed {
		close(c.freed)
		c.freed = make(chan struct{})
	}
}
