package targetstest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"testing"

	"github.com/backupd/backupd/internal/targets"
)

// DraftStore is a Store that has drafts.
type DraftStore interface {
	targets.Store
	targets.Drafter
}

// RunDrafts tests the drafts of the stores that open gives. Each is empty, and that test's own.
func RunDrafts(t *testing.T, open func(t *testing.T) DraftStore) {
	for name, test := range map[string]func(*testing.T, DraftStore){
		"a draft is read while it is written":   readWhileWritten,
		"a draft exists once it is committed":   existsOnceCommitted,
		"a draft that is given up is not there": givenUp,
		"a draft never replaces":                draftNeverReplaces,
		"a draft with a context that has ended": draftEnded,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func begin(t *testing.T, s DraftStore, key string) targets.Draft {
	t.Helper()
	d, err := s.Draft(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() }) // which is an error where the test has done so
	return d
}

func write(t *testing.T, d targets.Draft, data []byte) {
	t.Helper()
	if n, err := d.Write(data); err != nil || n != len(data) {
		t.Fatalf("wrote %d bytes of %d, %v", n, len(data), err)
	}
}

func wantAt(t *testing.T, d targets.Draft, data []byte, off, n int) {
	t.Helper()
	got := make([]byte, n)
	if _, err := d.ReadAt(got, int64(off)); err != nil || !bytes.Equal(got, data[off:off+n]) {
		t.Fatalf("%d bytes at %d came out different (%v)", n, off, err)
	}
}

// readWhileWritten writes enough for what is far behind to be on the disk alone.
func readWhileWritten(t *testing.T, s DraftStore) {
	d, data := begin(t, s, "a/b"), Random(4*Large)
	for off, step := 0, len(data)/7+1; off < len(data); off += step {
		end := min(off+step, len(data))
		write(t, d, data[off:end])
		wantAt(t, d, data, end-1000, 1000)
		wantAt(t, d, data, off/2+1, 100_000)
	}
	if err := d.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantAt(t, d, data, 0, len(data))
	if n, err := d.ReadAt(make([]byte, 10), int64(len(data)-3)); n != 3 || err != io.EOF {
		t.Errorf("read %d bytes beyond the end, %v", n, err)
	}
	if got := get(t, s, "a/b", 0, -1); !bytes.Equal(got, data) {
		t.Errorf("got %d bytes other than the %d that were written", len(got), len(data))
	}
}

func existsOnceCommitted(t *testing.T, s DraftStore) {
	d := begin(t, s, "a/b")
	write(t, d, []byte("data"))
	wantKeys(t, s, "")
	if err := d.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantKeys(t, s, "", "a/b")
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	wantKeys(t, s, "", "a/b")
}

func givenUp(t *testing.T, s DraftStore) {
	d := begin(t, s, "a/b")
	write(t, d, []byte("data"))
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	wantKeys(t, s, "")
	putString(t, s, "a/b", "other")
}

func draftNeverReplaces(t *testing.T, s DraftStore) {
	d := begin(t, s, "late")
	write(t, d, []byte("data"))
	putString(t, s, "late", "first")
	if err := d.Commit(t.Context()); !errors.Is(err, fs.ErrExist) {
		t.Errorf("commit under a key that exists: %v", err)
	}
	if got := get(t, s, "late", 0, -1); string(got) != "first" {
		t.Errorf("it was replaced by %q", got)
	}
	wantAt(t, d, []byte("data"), 0, 4)
	if d, err := s.Draft(t.Context(), "late"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("draft of a key that exists: %v, %v", d, err)
	}
}

func draftEnded(t *testing.T, s DraftStore) {
	d := begin(t, s, "a")
	write(t, d, []byte("data"))
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if err := d.Commit(ctx); !errors.Is(err, why) {
		t.Errorf("commit: %v, want %v", err, why)
	}
	if _, err := s.Draft(ctx, "b"); !errors.Is(err, why) {
		t.Errorf("draft: %v, want %v", err, why)
	}
	wantKeys(t, s, "")
}
