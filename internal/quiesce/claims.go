package quiesce

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/backupd/backupd/internal/durable"
)

// claims are the containers that a hold has to itself among all holds on this host, so that none resumes what another still needs.
type claims struct {
	dir  string
	keys *durable.Keys // nil until something is claimed
}

func (k *Keeper) claims() *claims { return &claims{dir: k.dir} }

// wait claims all the containers, in one order everywhere so that two holds never wait for each other, and instead of what it claimed
// before; it tells whether it had to wait.
func (c *claims) wait(ctx context.Context, ids []string) (waited bool, err error) {
	if c.keys == nil && len(ids) == 0 {
		return false, nil
	}
	if err := c.open(); err != nil {
		return false, err
	}
	if err := c.keys.Drop(); err != nil {
		return false, err
	}
	for _, id := range slices.Sorted(slices.Values(ids)) {
		for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
			err := c.keys.Try(id)
			if err == nil {
				break
			}
			if !errors.Is(err, durable.ErrLocked) {
				return waited, err
			}
			waited = true
			select {
			case <-ctx.Done():
				return waited, context.Cause(ctx)
			case <-time.After(pause):
			}
		}
	}
	return waited, nil
}

// try claims the containers too, or fails with durable.ErrLocked when one is another's; then some of them may be claimed.
func (c *claims) try(ids []string) error {
	if err := c.open(); err != nil {
		return err
	}
	for _, id := range ids {
		if err := c.keys.Try(id); err != nil {
			return err
		}
	}
	return nil
}

func (c *claims) open() (err error) {
	if c.keys != nil {
		return nil
	}
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return fmt.Errorf("make the folder of holds: %w", err)
	}
	c.keys, err = durable.OpenKeys(filepath.Join(c.dir, "containers.lock"))
	return err
}

// close ends all claims.
func (c *claims) close() error {
	if c.keys == nil {
		return nil
	}
	return c.keys.Close()
}
