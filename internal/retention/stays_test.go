package retention_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backupd/backupd/internal/retention"
	"github.com/backupd/backupd/internal/snapshot"
)

func TestAnArchiveStaysForThoseThatAreKept(t *testing.T) {
	verdict := func(id snapshot.ID, keep bool, archives ...snapshot.ID) retention.Verdict {
		return retention.Verdict{Snapshot: retention.Snapshot{ID: id, Archives: archives}, Keep: keep}
	}
	got := retention.Stays([]retention.Verdict{ // newest first
		verdict("7", true, "5", "3"), // nothing had changed since 5
		verdict("6", false, "6", "2"),
		verdict("5", false, "5", "3"),
		verdict("4", true, "4", "3", "1"), // 1 is gone already
		verdict("3", false, "3"),
		verdict("2", true, "2"),
	})
	want := []retention.Stay{
		{ID: "1", For: []snapshot.ID{"4"}},
		{ID: "3", For: []snapshot.ID{"4", "7"}},
		{ID: "5", For: []snapshot.ID{"7"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("(-want +got)\n", diff)
	}
}
