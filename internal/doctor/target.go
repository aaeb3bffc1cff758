package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/backupd/backupd/internal/retention"
	"github.com/backupd/backupd/internal/snapshot"
	"github.com/backupd/backupd/internal/targets"
)

// probe is what the object of a host holds, always the same: who finds one that an earlier examination had to leave knows what to read.
var probe = bytes.Repeat([]byte("backupd doctor put this here to see whether it can. It may be removed.\n"), 100)

// ProbeKey is where a host's object lies on a target. No snapshot's object, and no folder of a volume, can have that name: a dot at the
// beginning of a name is escaped.
func ProbeKey(host string) string { return snapshot.HostPrefix(host) + ".doctor" }

// Place is a target, and what there is to know of it.
type Place struct {
	Name   string
	Host   string // whose snapshots are looked at
	Owner  string // who this is
	Store  targets.Store
	Lister Lister
	Folder string                // of a target on a disk of this host
	Free   func() (int64, error) // bytes there; nil elsewhere
}

// Target looks whether a target takes, gives back, lists and lets go an object, as a run is going to ask it to; then at the snapshots on it,
// and at its room. One that cannot be reached is not asked four more times.
func Target(at Place, now func() time.Time) Check {
	return Check{Name: "target " + at.Name, Look: func(ctx context.Context, r *Report) {
		p := &prober{store: at.Store, key: ProbeKey(at.Host), prefix: snapshot.HostPrefix(at.Host), now: now, report: r}
		if !p.look(ctx) {
			return
		}
		t, err := stored(ctx, r, at, now())
		if err != nil {
			r.Fail(mendTarget(err), "what is stored cannot be listed: %v", err)
			return
		}
		if at.Free != nil {
			space(r, at, t.last)
		}
	}}
}

type prober struct {
	store       targets.Store
	key, prefix string
	now         func() time.Time
	report      *Report

	fresh  bool // it was put by this very look
	before time.Time
}

// look tells whether the target is there at all.
func (p *prober) look(ctx context.Context) bool {
	if c, ok := p.store.(targets.Checker); ok {
		if err := c.Check(ctx); err != nil {
			p.fail("cannot be used", err)
			return false
		}
	}
	if err := p.put(ctx); err != nil {
		p.fail("cannot be written to", err)
		return true
	}
	sound := p.read(ctx) && p.list(ctx) && p.again(ctx)
	if p.remove(ctx) && sound {
		p.report.OK("an object was put, read back whole and in part, listed and removed")
	}
	p.abandon(ctx)
	return true
}

func (p *prober) fail(what string, err error) { p.report.Fail(mendTarget(err), "%s: %v", what, err) }

func (p *prober) put(ctx context.Context) error {
	p.before = p.now()
	err := p.store.Put(ctx, p.key, bytes.NewReader(probe))
	p.fresh = err == nil
	if errors.Is(err, fs.ErrExist) {
		return nil // of an earlier look, which could not remove it
	}
	return err
}

func (p *prober) read(ctx context.Context) bool {
	const off, n = 1000, 500
	for _, part := range []struct {
		off, n int64
		want   []byte
	}{{0, -1, probe}, {off, n, probe[off : off+n]}} {
		got, err := p.get(ctx, part.off, part.n)
		switch {
		case err != nil:
			p.fail("takes an object and does not give it back, so that nothing could be restored", err)
			return false
		case !bytes.Equal(got, part.want):
			p.report.Fail("do not use this target until that is understood: its disk or server returns other bytes than it was given",
				"gives back other bytes than were put (%d of %d, from byte %d on)", len(got), len(part.want), part.off)
			return false
		}
	}
	return true
}

func (p *prober) get(ctx context.Context, off, n int64) ([]byte, error) {
	r, err := p.store.Get(ctx, p.key, off, n)
	if err != nil {
		return nil, err
	}
	defer r.Close() // it was only read from
	return io.ReadAll(io.LimitReader(r, int64(2*len(probe))))
}

// list looks for the object in a listing, which also tells what time it is there.
func (p *prober) list(ctx context.Context) bool {
	for o, err := range p.store.List(ctx, p.prefix) {
		if err != nil {
			p.fail("cannot be listed", err)
			return false
		}
		if o.Key == p.key {
			p.clock(o.Modified)
			return true
		}
		if o.Key > p.key {
			break
		}
	}
	p.report.Fail("a target whose listings are stale cannot be trusted with retention: use another server, or another kind of bucket",
		"does not list an object that it has")
	return false
}

// clock compares the target's clock with this one.
func (p *prober) clock(put time.Time) {
	if !p.fresh || put.IsZero() {
		return
	}
	by, word := p.before.Sub(put), "behind"
	if after := put.Sub(p.now()); after > by {
		by, word = after, "ahead of"
	}
	if by > retention.Skew {
		p.report.Warn("set both clocks by NTP (timedatectl set-ntp true): what is kept, and for how long it is locked, goes by them",
			"its clock is %v %s this machine's", by.Round(time.Second), word)
	}
}

// again proves that nothing is replaced.
func (p *prober) again(ctx context.Context) bool {
	err := p.store.Put(ctx, p.key, strings.NewReader("something else\n"))
	switch {
	case errors.Is(err, fs.ErrExist):
		return true
	case err == nil:
		p.report.Fail("for a server that does not know If-None-Match say conditional=false in the target's URL", "replaces what is there already")
	default:
		p.fail("does not say that an object is there already", err)
	}
	return false
}

func (p *prober) remove(ctx context.Context) bool {
	err := p.store.Delete(ctx, p.key)
	var kept targets.Kept
	switch {
	case errors.As(err, &kept):
		p.report.Note("takes and gives back objects, and lets none go (%s): retention removes nothing there; the probe stays at %s", kept.Why, p.key)
		return false
	case err != nil:
		p.report.Warn(mendTarget(err), "an object cannot be removed, so that retention will fail: %v", err)
		return false
	}
	if _, err := p.get(ctx, 0, -1); err == nil {
		p.report.Fail("do not use this target until that is understood", "answers that an object is removed, and still has it")
		return false
	}
	return true
}

// abandon looks whether what killed uploads leave can be found. Nothing is given up.
func (p *prober) abandon(ctx context.Context) {
	a, ok := p.store.(targets.Abandoner)
	if !ok {
		return
	}
	_, err := a.Abandon(ctx, p.prefix, func(string) bool { return false })
	var kept targets.Kept
	switch {
	case errors.As(err, &kept):
		p.report.Note("what killed uploads leave there stays (%s): let a lifecycle rule of the bucket abort incomplete uploads", kept.Why)
	case err != nil:
		p.report.Warn(mendTarget(err), "what killed uploads leave there cannot be looked for: %v", err)
	}
}

// space looks whether there is room for two more backups like the last ones.
func space(r *Report, at Place, needed int64) {
	free, err := at.Free()
	if err != nil {
		r.Fail(mend(err), "its free space cannot be asked for: %v", err)
		return
	}
	if free < 2*needed {
		r.Warn("make room on that disk, or keep less (BACKUPD_RETENTION)", "%s has %s free, and the last backups took %s", at.Folder, size(free), size(needed))
		return
	}
	r.OK("%s has %s free", at.Folder, size(free))
}

func size(bytes int64) string {
	const unit = 1024
	value, names := float64(bytes), "BKMGTPE"
	i := 0
	for value >= unit && i < len(names)-1 {
		value, i = value/unit, i+1
	}
	if i == 0 {
		return fmt.Sprintf("%d B", bytes)
	}
	return fmt.Sprintf("%.1f %ciB", value, names[i])
}
