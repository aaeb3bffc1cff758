package backup_test

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/faulttest"
	"github.com/backupd/backupd/internal/targets"
	"github.com/backupd/backupd/internal/targets/memory"
)

var errRefused = errors.New("no space left on the target")

// archives changes how a store takes archives. Manifests go as ever.
type archives struct {
	*memory.Store
	put func(ctx context.Context, key string, r io.Reader) error
}

func (a archives) Put(ctx context.Context, key string, r io.Reader) error {
	if !strings.HasSuffix(key, ".tar.zst") {
		return a.Store.Put(ctx, key, r)
	}
	return a.put(ctx, key, r)
}

// refusing takes nothing.
func refusing(s *memory.Store) targets.Store {
	return archives{s, func(context.Context, string, io.Reader) error { return errRefused }}
}

// hanging takes nothing and says nothing, until the context ends.
func hanging(s *memory.Store) targets.Store {
	return archives{s, func(ctx context.Context, _ string, _ io.Reader) error {
		<-ctx.Done()
		return context.Cause(ctx)
	}}
}

// gated takes nothing before the gate is closed.
func gated(gate <-chan struct{}) func(*memory.Store) targets.Store {
	return func(s *memory.Store) targets.Store {
		return archives{s, func(ctx context.Context, key string, r io.Reader) error {
			select {
			case <-gate:
				return s.Put(ctx, key, r)
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}}
	}
}

// locking lets nothing go.
type locking struct{ *memory.Store }

func (locking) Delete(context.Context, string) error {
	return targets.Kept{Why: "locked until tomorrow"}
}

// target puts something before the store of a target.
func (w *world) target(name string, before func(*memory.Store) targets.Store) {
	target := w.runner.Targets[name]
	target.Catalog = catalog.New(before(w.stores[name]), nil, "web1")
	w.runner.Targets[name] = target
}

func (w *world) states() (states []engine.State) {
	containers, err := w.eng.Operator().Containers(context.Background())
	if err != nil {
		panic(err) // the engine of a test's operator answers
	}
	for _, c := range containers {
		states = append(states, c.State)
	}
	return states
}

// count begins to count. What it returns tells how many calls of the engine and the targets, of those so named, there were since.
func (w *world) count() (calls func(words string) int) {
	counter := &faulttest.Injector{}
	w.inject(counter)
	return func(words string) (n int) {
		for _, call := range counter.Calls() {
			if strings.HasPrefix(call, words) {
				n++
			}
		}
		return n
	}
}

// fill gives a volume so many bytes that do not compress.
func (w *world) fill(t *testing.T, volume, name string, size int) {
	t.Helper()
	data := make([]byte, size)
	rand.Read(data)
	for _, v := range w.volumes {
		if v.Name == volume {
			write(t, filepath.Join(v.Mountpoint, name), string(data))
		}
	}
}
