// Package memory is a store that lasts as long as the test that made it. Every call of it can be made to fail, and what it keeps
// can be damaged.
package memory

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/backupd/backupd/internal/faulttest"
	"github.com/backupd/backupd/internal/targets"
)

// Store is a targets.Store.
type Store struct {
	Faults *faulttest.Injector // what fails; nil for nothing
	Now    func() time.Time    // the store's clock

	mu      sync.Mutex
	objects map[string]object
}

// object is never changed in place, so that who reads it needs no lock.
type object struct {
	data     []byte
	modified time.Time
}

// New makes an empty store on the wall clock.
func New() *Store { return &Store{Now: time.Now, objects: map[string]object{}} }

// Put is described at targets.Store. Its effect, which faults come before or after, is that the key appears.
func (s *Store) Put(ctx context.Context, key string, r io.Reader) error {
	data, err := io.ReadAll(reader{ctx, r})
	if err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	return s.call(ctx, "put", key, func() error {
		if _, ok := s.objects[key]; ok {
			return fs.ErrExist
		}
		s.objects[key] = object{data: data, modified: s.Now()}
		return nil
	})
}

// reader ends with its context.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.r.Read(p)
}

// Get is described at targets.Store.
func (s *Store) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	if off < 0 {
		return nil, fmt.Errorf("get %s: offset %d: %w", key, off, fs.ErrInvalid)
	}
	var data []byte
	err := s.call(ctx, "get", key, func() error {
		o, ok := s.objects[key]
		if !ok {
			return fs.ErrNotExist
		}
		data = o.data
		return nil
	})
	if err != nil {
		return nil, err
	}
	data = data[min(off, int64(len(data))):]
	if n >= 0 {
		data = data[:min(n, int64(len(data)))]
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

// List is described at targets.Store. It gives what was there when it began.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[targets.Object, error] {
	return func(yield func(targets.Object, error) bool) {
		found, err := s.list(ctx, prefix)
		if err != nil {
			yield(targets.Object{}, err)
			return
		}
		for _, o := range found {
			if !yield(o, nil) {
				return
			}
		}
	}
}

func (s *Store) list(ctx context.Context, prefix string) (found []targets.Object, err error) {
	err = s.call(ctx, "list", prefix, func() error {
		for _, key := range slices.Sorted(maps.Keys(s.objects)) {
			if o := s.objects[key]; strings.HasPrefix(key, prefix) {
				found = append(found, targets.Object{Key: key, Size: int64(len(o.data)), Modified: o.modified})
			}
		}
		return nil
	})
	return found, err
}

// Delete is described at targets.Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	return s.call(ctx, "delete", key, func() error {
		delete(s.objects, key)
		return nil
	})
}

// call is one call of the store, with its faults: key is the key, or the prefix of a listing.
func (s *Store) call(ctx context.Context, op, key string, effect func() error) error {
	check := targets.CheckKey
	if op == "list" {
		check = targets.CheckPrefix
	}
	err := s.Faults.Call(ctx, op+" "+key, func() error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := check(key); err != nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		return effect()
	})
	if err != nil {
		return fmt.Errorf("%s %s: %w", op, key, err)
	}
	return nil
}

// Alter makes damage behind the store's back: change gets a copy of the object's bytes, nil when there is no object, and what it
// returns is the object from then on.
func (s *Store) Alter(key string, change func(data []byte) []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects[key] = object{data: change(bytes.Clone(s.objects[key].data)), modified: s.objects[key].modified}
}
