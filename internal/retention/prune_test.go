package retention_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backupd/backupd/internal/retention"
	"github.com/backupd/backupd/internal/snapshot"
	"github.com/backupd/backupd/internal/targets"
)

var errStuck = errors.New("stuck")

// remover notes what is removed; what is stuck cannot be, for some reason, and after the last removal its context ends.
type remover struct {
	removed []snapshot.Ref
	stuck   snapshot.ID
	why     error
	last    snapshot.ID
	cancel  context.CancelFunc
}

func (r *remover) Remove(_ context.Context, ref snapshot.Ref) error {
	if ref.ID == r.stuck {
		return r.why
	}
	r.removed = append(r.removed, ref)
	if ref.ID == r.last {
		r.cancel()
	}
	return nil
}

func TestPruneRemovesTheOldestFirst(t *testing.T) {
	all := snaps(t, "2026-11-17 2026-11-15 2026-11-19 2026-11-16* 2026-11-18!")
	r := &remover{}
	pruned, err := retention.Prune(t.Context(), r, "nas", "db", retention.Decide(retention.Policy{Last: 1}, all, now, time.UTC), now)
	if err != nil {
		t.Fatal(err)
	}
	want := []snapshot.Ref{
		{Host: "nas", Volume: "db", ID: all[1].ID}, {Host: "nas", Volume: "db", ID: all[0].ID}, {Host: "nas", Volume: "db", ID: all[4].ID},
	}
	if diff := cmp.Diff(want, r.removed); diff != "" {
		t.Errorf("removed (-want +got):\n%s", diff)
	}
	if want := []snapshot.ID{all[1].ID, all[0].ID, all[4].ID}; !slices.Equal(pruned.Removed, want) {
		t.Errorf("tells that %v are gone, want %v", pruned.Removed, want)
	}
}

func TestOneThatCannotBeRemovedDoesNotKeepTheOthers(t *testing.T) {
	all := snaps(t, "2026-11-16 2026-11-17 2026-11-18 2026-11-19")
	r := &remover{stuck: all[1].ID, why: errStuck}
	pruned, err := retention.Prune(t.Context(), r, "nas", "db", retention.Decide(retention.Policy{Last: 1}, all, now, time.UTC), now)
	if !errors.Is(err, errStuck) || !strings.Contains(err.Error(), string(all[1].ID)) {
		t.Errorf("%v, want an error that names %s", err, all[1].ID)
	}
	if want := []snapshot.ID{all[0].ID, all[2].ID}; !slices.Equal(pruned.Removed, want) {
		t.Errorf("tells that %v are gone, want %v", pruned.Removed, want)
	}
}

func TestOneThatIsKeptWhereItLiesIsNoFailure(t *testing.T) {
	all := snaps(t, "2026-11-16 2026-11-17 2026-11-18")
	r := &remover{stuck: all[1].ID, why: fmt.Errorf("delete its manifest: %w", targets.Kept{Why: "locked until tomorrow"})}
	pruned, err := retention.Prune(t.Context(), r, "nas", "db", retention.Decide(retention.Policy{Last: 1}, all, now, time.UTC), now)
	if err != nil {
		t.Error(err)
	}
	if want := []snapshot.ID{all[0].ID}; !slices.Equal(pruned.Removed, want) {
		t.Errorf("tells that %v are gone, want %v", pruned.Removed, want)
	}
	if want := fmt.Sprintf("snapshot %s: kept: locked until tomorrow", all[1].ID); len(pruned.Kept) != 1 || pruned.Kept[0].Error() != want {
		t.Errorf("tells that it is kept by %v, want %q", pruned.Kept, want)
	}
}

func TestPruneStopsBetweenTwoSnapshots(t *testing.T) {
	all := snaps(t, "2026-11-16 2026-11-17 2026-11-18 2026-11-19")
	ctx, cancel := context.WithCancel(t.Context())
	r := &remover{last: all[1].ID, cancel: cancel}
	pruned, err := retention.Prune(ctx, r, "nas", "db", retention.Decide(retention.Policy{Last: 1}, all, now, time.UTC), now)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
	if want := []snapshot.ID{all[0].ID, all[1].ID}; !slices.Equal(pruned.Removed, want) || len(r.removed) != len(want) {
		t.Errorf("tells that %v are gone, and %v are, want %v", pruned.Removed, r.removed, want)
	}
}

// Verdicts that no Decide would give.
func TestPruneTrustsNoVerdict(t *testing.T) {
	tests := map[string]struct {
		snaps, remove string
		want          string // in the error
	}{
		"against all":                    {"2026-11-17 2026-11-18 2026-11-19", "2026-11-17 2026-11-18 2026-11-19", "newest good"},
		"against the newest good":        {"2026-11-17 2026-11-18 2026-11-19!", "2026-11-18", "newest good"},
		"against it, with a future kept": {"2026-11-17 2026-11-18 2031-01-01", "2026-11-18", "newest good"},
		"against the future":             {"2026-11-18 2031-01-01", "2031-01-01", "dated in the future"},
		"against a pinned one":           {"2026-11-17* 2026-11-18", "2026-11-17*", "pinned"},
		"against one that failed":        {"2026-11-17- 2026-11-18", "2026-11-17-", "failed its drill"},
		"against the last proven one":    {"2026-11-16+ 2026-11-17+ 2026-11-18", "2026-11-17+", "proven"},
		"against it, not good as it is":  {"2026-11-16+ 2026-11-17+! 2026-11-18", "2026-11-17+!", "proven"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var verdicts []retention.Verdict
			doomed := marks(snaps(t, test.remove))
			for _, s := range snaps(t, test.snaps) {
				keep := !slices.Contains(doomed, marks([]retention.Snapshot{s})[0])
				verdicts = append(verdicts, retention.Verdict{Snapshot: s, Keep: keep})
			}
			expectRefusal(t, verdicts, test.want)
		})
	}
	t.Run("two on one snapshot", func(t *testing.T) {
		s := snaps(t, "2026-11-18")[0]
		expectRefusal(t, []retention.Verdict{{Snapshot: s, Keep: true}, {Snapshot: s}}, "two verdicts")
	})
}

func expectRefusal(t *testing.T, verdicts []retention.Verdict, want string) {
	t.Helper()
	r := &remover{}
	pruned, err := retention.Prune(t.Context(), r, "nas", "db", verdicts, now)
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want an error with %q", err, want)
	}
	if len(pruned.Removed) > 0 || len(r.removed) > 0 {
		t.Errorf("removed %v, and tells of %v, want neither", r.removed, pruned.Removed)
	}
}
