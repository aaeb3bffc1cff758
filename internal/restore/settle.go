package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/folder"
)

// VolumeEngine looks up volumes.
type VolumeEngine interface {
	Volume(ctx context.Context, name string) (engine.Volume, error)
}

// Keeping looks after what restores have exchanged in volumes.
type Keeping struct {
	Exchanges Exchanges
	Engine    VolumeEngine
	Access    Opener
	Log       *slog.Logger
}

// Settle brings to an end what restores were exchanging in the volumes that were killed at it, so that each is wholly old or wholly new. Nobody
// may use them meanwhile. After an error nobody should.
func (k Keeping) Settle(ctx context.Context, volumes []string) error {
	var errs []error
	for _, name := range volumes {
		e, err := k.Exchanges.Of(name)
		if errors.Is(err, fs.ErrNotExist) || err == nil && !e.Pending {
			continue
		}
		if err != nil { // what is remembered cannot be read: the volume itself shows what there is to do
			k.Log.Warn("it is not known whether a restore was killed in the middle of an exchange: looking", "volume", name, "err", err)
			e = Exchange{Volume: name}
		}
		if err := k.settle(ctx, e); err != nil {
			errs = append(errs, fmt.Errorf("put volume %q in order, in which a restore was killed: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

func (k Keeping) settle(ctx context.Context, e Exchange) error {
	f, err := k.open(ctx, e.Volume)
	if errors.Is(err, engine.ErrNotFound) {
		return k.Exchanges.Forget(e.Volume)
	}
	if err != nil {
		return err
	}
	settled, err := f.Settle(ctx)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return k.settled(e, settled)
}

func (k Keeping) settled(e Exchange, settled bool) error {
	if settled {
		k.Log.Warn("a restore that was killed in the middle of an exchange was brought to its end", "volume", e.Volume)
	}
	e.Pending = false
	return k.Exchanges.Remember(e)
}

// SettleHere settles what lies in a folder of this host, without an engine: before one has started anything on it. It tells whether it could.
func (k Keeping) SettleHere(ctx context.Context, e Exchange) (bool, error) {
	if !e.Pending || e.Folder == "" {
		return !e.Pending, nil
	}
	settled, err := folder.At(e.Folder, true).Settle(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // it is not mounted yet, say
	}
	if err != nil {
		return false, fmt.Errorf("put volume %q in order, in which a restore was killed: %w", e.Volume, err)
	}
	return true, k.settled(e, settled)
}

// Drop removes what restores of a volume have replaced before some moment.
func (k Keeping) Drop(ctx context.Context, e Exchange, before time.Time) (err error) {
	if e.Pending {
		return fmt.Errorf("volume %q: %w: run \"backupd recover\" first", e.Volume, folder.ErrUnsettled)
	}
	f, err := k.open(ctx, e.Volume)
	if errors.Is(err, engine.ErrNotFound) {
		return k.Exchanges.Forget(e.Volume)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	dropped, err := f.Drop(ctx, before)
	if err != nil {
		return fmt.Errorf("volume %q: %w", e.Volume, err)
	}
	if dropped > 0 {
		k.Log.Info("what restores had replaced is gone", "volume", e.Volume)
	}
	if e.At.After(before) {
		return nil
	}
	return k.Exchanges.Forget(e.Volume)
}

func (k Keeping) open(ctx context.Context, volume string) (interface {
	Settle(ctx context.Context) (settled bool, err error)
	Drop(ctx context.Context, before time.Time) (dropped int, err error)
	Close() error
}, error) {
	v, err := k.Engine.Volume(ctx, volume)
	if err != nil {
		return nil, err
	}
	return k.Access.Writer(ctx, v)
}
