package doctor_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/doctor"
	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/ledger"
	"github.com/backupd/backupd/internal/plan"
	"github.com/backupd/backupd/internal/schedule"
	"github.com/backupd/backupd/internal/snapshot"
)

var now = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func clock() time.Time { return now }

var errBroken = errors.New("broken on purpose")

// found gives what a check finds, a line each.
func found(t *testing.T, c doctor.Check) (lines []string) {
	t.Helper()
	doctor.Examine(t.Context(), []doctor.Check{c}, func(f doctor.Finding) {
		if f.Check != c.Name {
			t.Errorf("a finding of %q, in %q", f.Check, c.Name)
		}
		if bad := f.Level == doctor.Fail || f.Level == doctor.Warn; !bad && f.Mend != "" {
			t.Errorf("something to mend where all is well: %+v", f)
		}
		lines = append(lines, fmt.Sprintf("%s %s -> %s", f.Level, f.Text, f.Mend))
	})
	return lines
}

// want is what each line has in it, in order.
func want(t *testing.T, c doctor.Check, want ...string) {
	t.Helper()
	got := found(t, c)
	if len(got) != len(want) {
		t.Fatalf("%d findings, want %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
	}
	for i, line := range got {
		for part := range strings.SplitSeq(want[i], " ... ") {
			if !strings.Contains(line, part) {
				t.Errorf("it says\n%s\nand should say\n%s", line, want[i])
			}
		}
	}
}

func TestAnEndThatIsAskedForEndsTheExamination(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	looked := 0
	check := doctor.Check{Look: func(context.Context, *doctor.Report) { looked++; cancel() }}
	doctor.Examine(ctx, []doctor.Check{check, check}, func(doctor.Finding) {})
	if looked != 1 {
		t.Errorf("%d checks were made", looked)
	}
}

func TestEngine(t *testing.T) {
	info := func(i engine.Info, err error) func(context.Context) (engine.Info, error) {
		return func(context.Context) (engine.Info, error) { return i, err }
	}
	want(t, doctor.Engine("unix:///x", info(engine.Info{Version: "20.10", API: "1.41"}, nil)), "ok version 20.10, API 1.41, at unix:///x")
	want(t, doctor.Engine("", info(engine.Info{Root: "/volumes"}, nil)), "ok none ... /volumes")
	want(t, doctor.Engine("tcp://x", info(engine.Info{}, fmt.Errorf("ping: %w", engine.ErrUnreachable))), "fail ping ... DOCKER_HOST")
	want(t, doctor.Engine("tcp://x", info(engine.Info{}, errBroken)), "fail it does not say who it is: broken")
}

type finder struct {
	volumes []plan.Volume
	err     error
}

func (f finder) Volumes(context.Context) ([]plan.Volume, error) { return f.volumes, f.err }

func volume(name string, options ...string) plan.Volume {
	v := plan.Volume{Volume: engine.Volume{Name: name, Driver: "local"}}
	if len(options) > 0 {
		v.Options = map[string]string{"type": options[0]}
	}
	return v
}

func TestVolumes(t *testing.T) {
	opened := 0
	access := func(_ context.Context, v engine.Volume) (bool, error) {
		opened++
		if v.Name == "bad" {
			return false, errBroken
		}
		return len(v.Options) == 0, nil
	}
	refused := volume("r")
	refused.Refused, refused.Problems = true, []plan.Problem{{Setting: "backupd.targets", Text: "no target is left"}}
	odd := volume("o")
	odd.Problems = refused.Problems
	known := map[string]ledger.Volume{"a": {Failures: 2, LastError: "one\ntwo"}, "b": {LastError: "target far: gone"}}
	check := func(volumes ...plan.Volume) doctor.Check {
		return doctor.Volumes(finder{volumes: volumes}, known, access)
	}
	want(t, doctor.Volumes(finder{err: errBroken}, nil, access), "fail they cannot be discovered")
	want(t, check(), "warn none is enrolled ... backupd.enable=true")
	want(t, check(volume("x"), volume("y")), "ok 2 enrolled; 2 can be read here")
	want(t, check(volume("x"), volume("bad")), "fail broken on purpose", "ok 2 enrolled; 1 can")
	want(t, check(refused, odd), `fail volume "r" ... no target is left ... not backed up`, `warn volume "o"`, "ok 2 enrolled")
	want(t, check(volume("a"), volume("b")), `warn volume "a": its last run stored nothing good: one; two`, `warn volume "b" ... not all well: target far: gone`, "ok")
	opened = 0
	want(t, check(volume("x"), volume("n1", "nfs"), volume("n2", "nfs"), volume("n3", "nfs")), "ok 4 enrolled; 1 can be read here, helper containers work for the others")
	if opened != 2 {
		t.Errorf("%d volumes were opened, want one here and one through a helper", opened)
	}
}

func says(yes bool, err error) func() (bool, error) { return func() (bool, error) { return yes, err } }

func TestHoldsGuardAndService(t *testing.T) {
	want(t, doctor.Holds(says(false, nil), says(false, nil)), "ok")
	want(t, doctor.Holds(says(true, nil), says(true, nil)), "note there are journals")
	want(t, doctor.Holds(says(true, nil), says(false, nil)), "warn there are journals ... backupd recover")
	want(t, doctor.Holds(says(false, errBroken), says(false, nil)), "fail")
	want(t, doctor.Guard(nil), "ok a process of its own")
	want(t, doctor.Guard(func(context.Context) error { return nil }), "ok a container of its own")
	want(t, doctor.Guard(func(context.Context) error { return errBroken }), "warn the engine refuses a guard ... broken on purpose ... proxy")
	want(t, doctor.Service(says(true, nil), nil), "ok a daemon runs")
	want(t, doctor.Service(says(false, nil), nil), "warn no daemon runs ... backupd run")
	want(t, doctor.Service(says(true, nil), says(true, nil)), "ok a daemon runs")
	want(t, doctor.Service(says(true, nil), says(false, nil)), "ok", "warn nothing lets go at boot ... systemctl enable backupd-recover")
	want(t, doctor.Service(says(false, errBroken), nil), "fail")
}

func TestStateDir(t *testing.T) {
	dir := func(private bool, free int64, err error) doctor.Check {
		return doctor.StateDir(func() (doctor.State, error) { return doctor.State{Path: "/state", Private: private, Free: free}, err })
	}
	want(t, dir(true, 5<<30, nil), "ok /state has 5.0 GiB free")
	want(t, dir(false, 5<<30, nil), "warn /state is open to others ... chmod 0700 /state")
	want(t, dir(true, 5<<20, nil), "warn /state has only 5.0 MiB free ... make room")
	want(t, dir(true, 0, &fs.PathError{Op: "open", Err: unix.EROFS}), "fail ... mounted read-only ... ReadWritePaths=")
	want(t, dir(true, 0, &fs.PathError{Op: "open", Err: unix.ENOSPC}), "fail ... make room")
	want(t, dir(true, 0, &fs.PathError{Op: "open", Err: unix.EACCES}), "fail ... run it as root")
	want(t, dir(true, 0, errBroken), "fail the state directory cannot be used: broken")
}

func taken(volume string, before time.Duration) catalog.Snapshot {
	at := now.Add(-before)
	id, err := snapshot.NewID(at, strings.NewReader("abcd"))
	if err != nil {
		panic(err)
	}
	return catalog.Snapshot{Manifest: snapshot.Manifest{ID: id, Host: "web1", Owner: "me", Volume: volume, Taken: at, Grade: snapshot.Frozen,
		Archives: []snapshot.Archive{{ID: id, Size: 100}}}}
}

type lister struct {
	listing catalog.Listing
	err     error
}

// Each gives volume by volume what is listed, and then the error.
func (l lister) Each(context.Context, catalog.Query) iter.Seq2[catalog.Listing, error] {
	return func(yield func(catalog.Listing, error) bool) {
		volumes := map[string][]catalog.Snapshot{}
		for _, s := range l.listing.Snapshots {
			volumes[s.Volume] = append(volumes[s.Volume], s)
		}
		for _, name := range slices.Sorted(maps.Keys(volumes)) {
			if !yield(catalog.Listing{Snapshots: volumes[name]}, nil) {
				return
			}
		}
		yield(catalog.Listing{Unreadable: l.listing.Unreadable, Unknown: l.listing.Unknown}, l.err)
	}
}

func TestCovered(t *testing.T) {
	bad := taken("db", time.Hour)
	bad.Proof.Damaged = "much"
	volumes := finder{volumes: []plan.Volume{volume("app"), volume("db")}}
	near := lister{listing: catalog.Listing{Snapshots: []catalog.Snapshot{taken("app", time.Hour), bad}}}
	far := lister{listing: catalog.Listing{Snapshots: []catalog.Snapshot{taken("db", 2*time.Hour)}}}
	want(t, doctor.Covered(volumes, map[string]doctor.Lister{"near": near, "far": far}), "ok each enrolled volume has a good one")
	want(t, doctor.Covered(volumes, map[string]doctor.Lister{"near": near}), `warn volume "db" has no good snapshot on any target ->  ... backupd backup db`)
	want(t, doctor.Covered(volumes, map[string]doctor.Lister{"near": near, "far": lister{err: errBroken}}), `warn volume "db" has no good snapshot on any target that can be listed`)
}

func TestVerified(t *testing.T) {
	weekly, err := schedule.Parse("@every 168h")
	if err != nil {
		t.Fatal(err)
	}
	day := 24 * time.Hour
	check := func(spec schedule.Spec, r ledger.Round) doctor.Check {
		return doctor.Verified(spec, r, time.Time{}, "web1", time.UTC, now)
	}
	byHand := doctor.Verified(weekly, ledger.Round{Since: now.Add(-99 * day), Ended: now.Add(-15 * day)}, now.Add(-2*day), "web1", time.UTC, now)
	want(t, byHand, "ok what is stored was last verified, by hand, 2 days ago")
	want(t, check(schedule.Spec{}, ledger.Round{}), "note BACKUPD_VERIFY is off")
	want(t, check(weekly, ledger.Round{}), "note the daemon has not run yet")
	want(t, check(weekly, ledger.Round{Since: now.Add(-99 * day), Ended: now.Add(-13 * day)}), "ok the last round ended 13 days ago")
	want(t, check(weekly, ledger.Round{Since: now.Add(-99 * day), Ended: now.Add(-15 * day)}), "warn the last round ended 15 days ago ... @every 168h ... backupd verify")
	want(t, check(weekly, ledger.Round{Since: now.Add(-15 * day)}), "warn no round has come to its end ... 15 days")
}

func TestProven(t *testing.T) {
	weekly, err := schedule.Parse("@every 168h")
	if err != nil {
		t.Fatal(err)
	}
	day := 24 * time.Hour
	v := volume("app")
	v.Drill.Value = weekly
	tried := func(spec plan.Volume, known ledger.Drills, trials ...snapshot.Trial) doctor.Check {
		s := taken("app", 99*day)
		s.Drills = trials
		return doctor.Proven(doctor.Drills{
			Finder: finder{volumes: []plan.Volume{spec}}, From: map[string]doctor.Lister{"near": lister{listing: catalog.Listing{Snapshots: []catalog.Snapshot{s}}}},
			Known: map[string]ledger.Volume{"app": {Drills: known}}, Host: "web1", Zone: time.UTC, Now: now,
		})
	}
	proof := func(before time.Duration) snapshot.Trial {
		return snapshot.Trial{At: now.Add(-before), Proven: true, Recovery: 84213 * time.Millisecond}
	}
	failure := func(before time.Duration) snapshot.Trial { return snapshot.Trial{At: now.Add(-before)} }
	want(t, tried(volume("app"), ledger.Drills{}))
	want(t, tried(v, ledger.Drills{}), "note ... the daemon has not run yet")
	want(t, tried(v, ledger.Drills{Since: now.Add(-13 * day)}))
	want(t, tried(v, ledger.Drills{Since: now.Add(-15 * day)}), `warn volume "app" was never proven ... 15 days ago ... @every 168h ... backupd drill app`)
	want(t, tried(v, ledger.Drills{Since: now.Add(-99 * day)}, proof(13*day)), `ok volume "app" was last proven to be restorable 13 days ago, in 1m24s`)
	want(t, tried(v, ledger.Drills{Since: now.Add(-99 * day)}, proof(15*day)), `warn volume "app" was last proven to be restorable 15 days ago`)
	want(t, tried(v, ledger.Drills{}, proof(13*day), failure(day)), `warn the last drill of volume "app", 24 hours ago, FAILED`, "ok")
	want(t, tried(volume("app"), ledger.Drills{}, failure(day)), `warn the last drill of volume "app", 24 hours ago, FAILED`)
	want(t, tried(v, ledger.Drills{}, failure(3*day), proof(2*day)), "ok")
	want(t, tried(v, ledger.Drills{Error: "no image"}, proof(day)), `warn the last drill of volume "app" came to no verdict: no image`, "ok")
	unlisted := doctor.Drills{Finder: finder{volumes: []plan.Volume{v}}, From: map[string]doctor.Lister{"far": lister{err: errBroken}}, Zone: time.UTC, Now: now}
	want(t, doctor.Proven(unlisted))
}
