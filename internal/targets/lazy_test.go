package targets_test

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/backupd/backupd/internal/targets"
	"github.com/backupd/backupd/internal/targets/local"
	"github.com/backupd/backupd/internal/targets/memory"
	"github.com/backupd/backupd/internal/targets/targetstest"
)

func TestALazyStoreIsAStore(t *testing.T) {
	targetstest.Run(t, func(*testing.T) targets.Store {
		return targets.Lazy(func(context.Context) (targets.Store, error) { return memory.New(), nil })
	})
}

func TestALazyStoreHasTheDraftsOfTheStoreThatItOpens(t *testing.T) {
	targetstest.RunDrafts(t, func(t *testing.T) targetstest.DraftStore {
		return targets.Lazy(func(context.Context) (targets.Store, error) { return local.Open(t.TempDir()) })
	})
	without := targets.Lazy(func(context.Context) (targets.Store, error) { return memory.New(), nil })
	if d, err := without.Draft(t.Context(), "a"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("draft: %v, %v", d, err)
	}
}

func TestAStoreThatIsNotThereYetIsTriedAgain(t *testing.T) {
	away := errors.New("away")
	opened := 0
	store := memory.New()
	lazy := targets.Lazy(func(context.Context) (targets.Store, error) {
		if opened++; opened <= 5 {
			return nil, away
		}
		return store, nil
	})
	_, getting := lazy.Get(t.Context(), "a", 0, -1)
	var listing error
	for _, err := range lazy.List(t.Context(), "") {
		listing = err
	}
	for what, err := range map[string]error{
		"put": lazy.Put(t.Context(), "a", strings.NewReader("data")), "get": getting, "list": listing,
		"delete": lazy.Delete(t.Context(), "a"), "check": lazy.Check(t.Context()),
	} {
		if !errors.Is(err, away) {
			t.Errorf("%s of a store that is away: %v", what, err)
		}
	}
	if err := lazy.Put(t.Context(), "a", strings.NewReader("data")); err != nil {
		t.Fatal(err)
	}
	if _, err := lazy.Get(t.Context(), "b", 0, -1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("get of what is not there: %v", err)
	}
	if opened != 6 {
		t.Errorf("opened %d times, want 6", opened)
	}
}
