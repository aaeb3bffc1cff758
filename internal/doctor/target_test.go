package doctor_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"iter"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/doctor"
	"github.com/backupd/backupd/internal/snapshot"
	"github.com/backupd/backupd/internal/targets"
	"github.com/backupd/backupd/internal/targets/memory"
)

// faulty is a store that does one thing wrong.
type faulty struct {
	targets.Store
	check, put, get, del error
	bytes                func([]byte) []byte // what it gives back
	blind                bool                // it lists nothing
	replaces, keeps      bool
	put0                 time.Time // when it says that objects were put
	uploads              error
}

func (f *faulty) Check(context.Context) error { return f.check }

func (f *faulty) Put(ctx context.Context, key string, r io.Reader) error {
	if f.put != nil {
		return f.put
	}
	err := f.Store.Put(ctx, key, r)
	if f.replaces {
		return nil
	}
	return err
}

func (f *faulty) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	if f.get != nil {
		return nil, f.get
	}
	r, err := f.Store.Get(ctx, key, off, n)
	if err != nil || f.bytes == nil {
		return r, err
	}
	data, err := io.ReadAll(r)
	return io.NopCloser(bytes.NewReader(f.bytes(data))), err
}

func (f *faulty) List(ctx context.Context, prefix string) iter.Seq2[targets.Object, error] {
	return func(yield func(targets.Object, error) bool) {
		for o, err := range f.Store.List(ctx, prefix) {
			if o.Modified = f.put0; !f.blind && !yield(o, err) {
				return
			}
		}
	}
}

func (f *faulty) Delete(ctx context.Context, key string) error {
	if f.del != nil || f.keeps {
		return f.del
	}
	return f.Store.Delete(ctx, key)
}

func (f *faulty) Abandon(context.Context, string, func(string) bool) (int, error) {
	return 0, f.uploads
}

func target(f *faulty, snapshots ...catalog.Snapshot) doctor.Check {
	if f.Store == nil {
		f.Store = memory.New()
	}
	return doctor.Target(doctor.Place{Name: "far", Host: "web1", Owner: "me", Store: f, Lister: lister{listing: catalog.Listing{Snapshots: snapshots}}}, clock)
}

const well = "ok an object was put, read back whole and in part, listed and removed"

func TestTarget(t *testing.T) {
	flip := func(data []byte) []byte { data = bytes.Clone(data); data[len(data)-1] ^= 1; return data }
	cut := func(data []byte) []byte { return data[:len(data)/2] }
	kept := targets.Kept{Why: "AccessDenied (the access key needs s3:DeleteObject)"}
	tests := map[string]struct {
		store faulty
		want  []string
	}{
		"all is well":            {faulty{put0: now}, []string{well}},
		"out of reach":           {faulty{check: errBroken}, []string{"fail cannot be used: broken"}},
		"read-only":              {faulty{put: fmt.Errorf("put: %w", unix.EROFS)}, []string{"fail cannot be written to: put: read-only"}},
		"full":                   {faulty{put: fmt.Errorf("put: %w", unix.ENOSPC)}, []string{"fail cannot be written to: put: no space"}},
		"another name":           {faulty{check: fmt.Errorf("get: %w", x509.HostnameError{Certificate: &x509.Certificate{}})}, []string{"fail cannot be used ... for another name"}},
		"expired":                {faulty{check: fmt.Errorf("get: %w", x509.CertificateInvalidError{})}, []string{"fail cannot be used ... is this machine's clock wrong?"}},
		"no answer":              {faulty{check: context.DeadlineExceeded}, []string{"fail cannot be used ... does this machine reach it?"}},
		"gives nothing back":     {faulty{get: errBroken}, []string{"fail takes an object and does not give it back"}},
		"other bytes":            {faulty{bytes: flip}, []string{"fail gives back other bytes ... do not use this target"}},
		"fewer bytes":            {faulty{bytes: cut}, []string{"fail gives back other bytes"}},
		"stale listings":         {faulty{blind: true}, []string{"fail does not list an object that it has"}},
		"replaces":               {faulty{replaces: true}, []string{"fail replaces what is there already ... conditional=false"}},
		"removes nothing":        {faulty{keeps: true}, []string{"fail answers that an object is removed, and still has it"}},
		"cannot remove":          {faulty{del: errBroken}, []string{"warn an object cannot be removed"}},
		"append-only":            {faulty{del: kept}, []string{"note takes and gives back objects, and lets none go ... s3:DeleteObject ... web1/.doctor"}},
		"uploads out of sight":   {faulty{uploads: kept}, []string{well, "note what killed uploads leave there stays"}},
		"uploads that fail":      {faulty{uploads: errBroken}, []string{well, "warn what killed uploads leave"}},
		"a little off":           {faulty{put0: now.Add(4 * time.Minute)}, []string{well}},
		"its clock is ahead":     {faulty{put0: now.Add(time.Hour)}, []string{"warn its clock is 1h0m0s ahead of ... NTP", well}},
		"its clock lags behind":  {faulty{put0: now.Add(-time.Hour)}, []string{"warn its clock is 1h0m0s behind this machine's", well}},
		"it says no time at all": {faulty{}, []string{well}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { want(t, target(&test.store), test.want...) })
	}
}

func TestWhatAnEarlierLookHadToLeaveDoesNoHarm(t *testing.T) {
	f := &faulty{del: targets.Kept{Why: "locked"}, put0: now}
	want(t, target(f), "note takes")
	f.put0 = now.Add(-99 * time.Hour) // and says nothing of the clock
	want(t, target(f), "note takes")
	f.del = nil
	want(t, target(f), well)
}

func TestTheProbeIsNobodysSnapshot(t *testing.T) {
	key := doctor.ProbeKey("web 1")
	if _, _, err := snapshot.ParseKey(key); !errors.Is(err, snapshot.ErrForeign) {
		t.Errorf("%s is read as an object of a snapshot (%v)", key, err)
	}
	if key == doctor.ProbeKey("web") || key+"/" == snapshot.VolumePrefix("web 1", ".doctor") || key+"/" == snapshot.VolumePrefix("web 1", "doctor") {
		t.Errorf("%s is in the way", key)
	}
}

func TestWhatIsStored(t *testing.T) {
	other, damaged := taken("app", time.Hour), taken("db", 2*time.Hour)
	other.Owner = "somebody"
	damaged.Proof.Damaged = "at byte 12"
	fine := &faulty{}
	want(t, target(fine, taken("app", time.Hour)), well, "ok snapshots: 1, the newest taken")
	want(t, target(fine, other), well, `fail snapshots here were made by another backupd ... "owner"`, "ok")
	want(t, target(fine, damaged, taken("app", time.Hour)), well, `fail volume "db" ... is DAMAGED: at byte 12 ... backupd verify`, "ok")
	want(t, target(fine, taken("app", -48*time.Hour)), well, "warn snapshot ... in the future ... timedatectl", "ok")
	unreadable := catalog.Listing{Unreadable: []catalog.Unreadable{{Ref: taken("app", 0).Ref(), Err: errBroken}}, Unknown: []error{errBroken}}
	at := doctor.Place{Name: "far", Host: "web1", Owner: "me", Store: &faulty{Store: memory.New()}, Lister: lister{listing: unreadable}}
	want(t, doctor.Target(at, clock), well, `fail volume "app": broken`, "warn broken")
	at.Lister = lister{err: errBroken}
	want(t, doctor.Target(at, clock), well, "fail what is stored cannot be listed")
}

func TestRoomOnADisk(t *testing.T) {
	for free, text := range map[int64]string{399: "warn /disk has 399 B free, and the last backups took 200 B", 400: "ok /disk has 400 B free"} {
		listing := catalog.Listing{Snapshots: []catalog.Snapshot{taken("app", time.Hour), taken("app", 2*time.Hour), taken("db", time.Hour)}}
		want(t, doctor.Target(doctor.Place{
			Name: "far", Host: "web1", Owner: "me", Store: &faulty{Store: memory.New()}, Lister: lister{listing: listing},
			Folder: "/disk", Free: func() (int64, error) { return free, nil },
		}, clock), well, "ok snapshots: 3", text)
	}
}
