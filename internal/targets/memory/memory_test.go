package memory_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/backupd/backupd/internal/faulttest"
	"github.com/backupd/backupd/internal/targets"
	"github.com/backupd/backupd/internal/targets/memory"
	"github.com/backupd/backupd/internal/targets/targetstest"
)

func TestStore(t *testing.T) {
	targetstest.Run(t, func(*testing.T) targets.Store { return memory.New() })
}

func TestFaults(t *testing.T) {
	for _, kind := range faulttest.Kinds {
		t.Run(kind.String(), func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			s := memory.New()
			s.Faults = &faulttest.Injector{At: 2, Kind: kind, Cancel: cancel}
			if err := s.Put(ctx, "first", strings.NewReader("x")); err != nil {
				t.Fatal(err)
			}
			err := s.Put(ctx, "second", strings.NewReader("x"))
			if !errors.Is(err, faulttest.ErrInjected) && !errors.Is(err, context.Canceled) {
				t.Errorf("the call that was to fail: %v", err)
			}
			there := s.Delete(t.Context(), "second") == nil && s.Put(t.Context(), "first", strings.NewReader("x")) != nil
			if !there {
				t.Error("a later call was not let through")
			}
		})
	}
}

func TestDamage(t *testing.T) {
	s := memory.New()
	if err := s.Put(t.Context(), "key", strings.NewReader("whole")); err != nil {
		t.Fatal(err)
	}
	before, err := s.Get(t.Context(), "key", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	s.Alter("key", func(data []byte) []byte { data[0] = 'W'; return data[:3] })
	after, err := s.Get(t.Context(), "key", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	for want, r := range map[string]io.Reader{"whole": before, "Who": after} {
		if got, err := io.ReadAll(r); err != nil || string(got) != want {
			t.Errorf("read %q, %v, want %q", got, err, want)
		}
	}
}
