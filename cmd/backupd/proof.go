package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/backupd/backupd/internal/backup"
	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/ledger"
	"github.com/backupd/backupd/internal/seal"
	"github.com/backupd/backupd/internal/snapshot"
)

// recordDrill stores what came of a drill beside every copy of the snapshot, as all are of the same bytes; what failed for the copy that was
// restored is stored beside that alone. Where that copy lies it has to be stored; what another target missed is told, and filled later.
func (a *app) recordDrill(ctx context.Context, from stored, d snapshot.Drill) error {
	return a.underLock(ctx, func() error {
		if err := from.target.Catalog.PutDrill(ctx, d); err != nil {
			return fmt.Errorf("target %s: %w", from.target.Name, err)
		}
		for _, t := range a.targets {
			if t.Name == from.target.Name || d.OfCopy() {
				continue
			}
			if err := recordAlso(ctx, t, from.Snapshot, d); err != nil {
				a.log.Warn("a target missed what came of a drill", "volume", d.Volume, "snapshot", d.ID, "target", t.Name, "err", err)
			}
		}
		a.settled(d.Volume)
		return nil
	}, d.Volume)
}

// recordAlso stores what came of a drill beside another copy, if that is there and has not failed alone.
func recordAlso(ctx context.Context, t backup.Target, from catalog.Snapshot, d snapshot.Drill) error {
	l, err := t.Catalog.List(ctx, catalog.Query{Volumes: []string{d.Volume}, ID: string(d.ID)})
	for _, s := range l.Snapshots {
		if !s.FailedAlone(from) {
			err = errors.Join(err, t.Catalog.PutDrill(ctx, d))
		}
	}
	return err
}

// settled has it forgotten why an earlier drill of the daemon's came to no verdict.
func (a *app) settled(volume string) {
	if a.ledger.View().Volumes[volume].Drills.Error == "" {
		return
	}
	err := a.ledger.Update(func(s *ledger.State) error {
		s.DrillEnded(volume, a.now(), nil)
		return nil
	})
	if err != nil {
		a.log.Warn("what came of a drill is stored, and cannot be remembered here", "volume", volume, "err", err)
	}
}

// proofs is what drills have shown of one volume.
type proofs struct {
	ref    snapshot.Ref // of the newest snapshot that was proven
	proof  snapshot.Trial
	failed snapshot.Trial // the last drill of the volume, if that failed
}

// proofsOf gives what is known of each volume of the rows, in their order.
func proofsOf(rows []snapshotRow) (volumes []snapshot.Ref, known map[snapshot.Ref]*proofs) {
	known = map[snapshot.Ref]*proofs{}
	for _, r := range rows {
		volume := snapshot.Ref{Host: r.Host, Volume: r.Volume}
		if known[volume] == nil {
			known[volume] = &proofs{}
			volumes = append(volumes, volume)
		}
		known[volume].add(r)
	}
	return volumes, known
}

func (p *proofs) add(r snapshotRow) {
	if r.DrillFailed.After(p.failed.At) && r.DrillFailed.After(p.proof.At) {
		p.failed = snapshot.Trial{At: r.DrillFailed}
	}
	if r.Proven.After(p.proof.At) {
		p.ref = snapshot.Ref{Host: r.Host, Volume: r.Volume, ID: r.ID}
		p.proof = snapshot.Trial{At: r.Proven, Proven: true, Recovery: time.Duration(r.RecoveryMS) * time.Millisecond}
		if !p.failed.At.After(r.Proven) {
			p.failed = snapshot.Trial{}
		}
	}
}

// drilled tells whether it was ever tried out.
func (r snapshotRow) drilled() bool { return !r.Proven.IsZero() || !r.DrillFailed.IsZero() }

// printProofs tells of each volume when it was last proven.
func (a *app) printProofs(rows []snapshotRow) {
	volumes, known := proofsOf(rows)
	for _, v := range volumes {
		fmt.Fprint(a.std.out, known[v].tell(a.volumeName(v.Host, v.Volume), a.now()))
	}
}

// tell says when the volume was last proven to be restorable, and how long that took.
func (p *proofs) tell(volume string, now time.Time) string {
	words := volume + ": not proven by any drill\n"
	if p.proof.Proven {
		words = fmt.Sprintf("%s: last proven restorable %s, from %s in %s\n", volume, ago(p.proof.At, now), p.ref.ID, lasting(p.proof.Recovery))
	}
	if !p.failed.At.IsZero() {
		words += fmt.Sprintf("%s: its last drill, %s, FAILED\n", volume, ago(p.failed.At, now))
	}
	return words
}

// lasting is how long something took, for people.
func lasting(d time.Duration) string {
	if d < time.Millisecond {
		return "no time"
	}
	return held(d.Milliseconds())
}

// provenCopies is a word for what the last drill of a snapshot has shown.
func provenCopies(copies []snapshotRow, now time.Time) string {
	var p proofs
	for _, r := range copies {
		p.add(r)
	}
	switch {
	case !p.failed.At.IsZero():
		return "FAILED"
	case p.proof.Proven:
		return age(p.proof.At, now)
	}
	return "-"
}

// printDrills tells all that was asked in drills of a snapshot, and what came back. One that lies beside several copies is told once.
func printDrills(ctx context.Context, std streams, copies []stored) error {
	var told []snapshot.Trial
	var errs []error
	for _, s := range copies {
		for _, t := range s.Drills {
			if slices.Contains(told, t) {
				continue
			}
			told = append(told, t)
			d, err := s.target.Catalog.Drill(ctx, s.Ref(), t)
			if err != nil && !errors.Is(err, seal.ErrLocked) {
				errs = append(errs, fmt.Errorf("target %s: %w", s.target.Name, err))
				continue
			}
			printDrill(std, t, d, err)
		}
	}
	return errors.Join(errs...)
}

func printDrill(std streams, t snapshot.Trial, d snapshot.Drill, locked error) {
	ms := func(n int64) string { return lasting(time.Duration(n) * time.Millisecond) }
	if t.Proven {
		fmt.Fprintf(std.err, "PROVEN restorable by a drill of %s: %s restored in %s, well after %s more\n", moment(t.At), size(d.Bytes), ms(d.RestoreMS), ms(d.ReadyMS))
	} else {
		fmt.Fprintf(std.err, "FAILED the drill of %s: %s\n", moment(t.At), printable(d.Failed))
	}
	if len(d.Started) > 0 {
		fmt.Fprintf(std.err, "  started %s\n", printable(strings.Join(d.Started, ", ")))
	}
	for _, c := range d.Checks {
		verdict := "well"
		if c.Failed != "" {
			verdict = "FAILED: " + c.Failed
		}
		fmt.Fprintf(std.err, "  %s: %s (%s): %s\n", printable(c.Of), printable(c.Asked), ms(c.TookMS), printable(verdict))
		for line := range strings.Lines(c.Answer) {
			fmt.Fprintf(std.err, "    %s\n", printable(strings.TrimRight(line, "\n")))
		}
	}
	if locked != nil {
		fmt.Fprintf(std.err, "  what was asked is not told: %s\n", printable(locked.Error()))
	}
}
