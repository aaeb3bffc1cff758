package targets

import (
	"context"
	"errors"
	"io"
	"iter"
	"sync"
)

// Lazy gives a Store that is opened by its first use, and again by the next one when that failed. So a target that is not there when
// the program starts is an error of the runs that miss it, and of nothing else.
func Lazy(open func(ctx context.Context) (Store, error)) *LazyStore {
	return &LazyStore{open: open}
}

// LazyStore is a Store that is opened when it is needed.
type LazyStore struct {
	open func(ctx context.Context) (Store, error)

	mu    sync.Mutex
	store Store // nil until it was opened
}

func (l *LazyStore) get(ctx context.Context) (Store, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.store == nil {
		store, err := l.open(ctx)
		if err != nil {
			return nil, err
		}
		l.store = store
	}
	return l.store, nil
}

// Put is described at Store.
func (l *LazyStore) Put(ctx context.Context, key string, r io.Reader) error {
	store, err := l.get(ctx)
	if err != nil {
		return err
	}
	return store.Put(ctx, key, r)
}

// Draft is described at Drafter. A store that knows no drafts is errors.ErrUnsupported.
func (l *LazyStore) Draft(ctx context.Context, key string) (Draft, error) {
	store, err := l.get(ctx)
	if err != nil {
		return nil, err
	}
	if d, ok := store.(Drafter); ok {
		return d.Draft(ctx, key)
	}
	return nil, errors.ErrUnsupported
}

// Get is described at Store.
func (l *LazyStore) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	store, err := l.get(ctx)
	if err != nil {
		return nil, err
	}
	return store.Get(ctx, key, off, n)
}

// List is described at Store.
func (l *LazyStore) List(ctx context.Context, prefix string) iter.Seq2[Object, error] {
	store, err := l.get(ctx)
	if err != nil {
		return func(yield func(Object, error) bool) { yield(Object{}, err) }
	}
	return store.List(ctx, prefix)
}

// Delete is described at Store.
func (l *LazyStore) Delete(ctx context.Context, key string) error {
	store, err := l.get(ctx)
	if err != nil {
		return err
	}
	return store.Delete(ctx, key)
}

// Abandon is described at Abandoner. A store that leaves nothing behind has nothing to give up.
func (l *LazyStore) Abandon(ctx context.Context, prefix string, mine func(key string) bool) (int, error) {
	store, err := l.get(ctx)
	if err != nil {
		return 0, err
	}
	if a, ok := store.(Abandoner); ok {
		return a.Abandon(ctx, prefix, mine)
	}
	return 0, nil
}

// Extend is described at Extender. A store that lets everything go has nothing to extend.
func (l *LazyStore) Extend(ctx context.Context, key string) error {
	store, err := l.get(ctx)
	if err != nil {
		return err
	}
	if e, ok := store.(Extender); ok {
		return e.Extend(ctx, key)
	}
	return nil
}

// Kept is described at Keeper. Of a store that cannot say nothing is known to be kept.
func (l *LazyStore) Kept(ctx context.Context, key string) error {
	store, err := l.get(ctx)
	if err != nil {
		return err
	}
	if k, ok := store.(Keeper); ok {
		return k.Kept(ctx, key)
	}
	return nil
}

// Checker is a Store that can tell, without leaving a trace, whether it could take an object now. Its errors are for people.
type Checker interface {
	Check(ctx context.Context) error
}

// Check opens the store, and asks it if it can be asked.
func (l *LazyStore) Check(ctx context.Context) error {
	store, err := l.get(ctx)
	if err != nil {
		return err
	}
	if c, ok := store.(Checker); ok {
		return c.Check(ctx)
	}
	return nil
}
