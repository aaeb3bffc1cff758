package s3

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"math"
	"slices"
	"sync"

	"github.com/dustin/go-humanize"

	"github.com/backupd/backupd/internal/targets"
)

// kept is what parts are made of that are too large for memory: they stay where what is put comes from until they are sent.
type kept struct {
	from  targets.Rereader
	limit int           // of parts at once, as with memory
	sent  chan struct{} // tells that there are fewer of them

	mu    sync.Mutex
	parts []int64 // where they begin, in the order of the stream
}

func newKept(from targets.Rereader, concurrency int) *kept {
	return &kept{from: from, limit: concurrency + 1, sent: make(chan struct{}, 1)}
}

// take reads one part, so that its checksum is known before it is sent, and keeps it. It may come out smaller where there is no room for
// more, but not smaller than least. The error for that is targets.ErrNoRoom, after which the bytes that were read are still kept.
func (k *kept) take(ctx context.Context, begin, size, least int64, h hash.Hash) (n int64, err error) {
	for k.count() >= k.limit {
		if err := k.wait(ctx); err != nil {
			return 0, err
		}
	}
	k.begin(begin)
	buf := make([]byte, 256<<10)
	for n < size && err == nil {
		var more int
		others := k.count() > 1 // before it is known whether there is room: they may be sent by then
		more, err = targets.Fill(ctx, k.from, buf[:min(int64(len(buf)), size-n)])
		h.Write(buf[:more])
		n += int64(more)
		if !errors.Is(err, targets.ErrNoRoom) {
			continue
		}
		switch {
		case n >= least:
			return n, nil
		case k.count() > 1:
			err = k.wait(ctx)
		case others:
			err = nil
		}
	}
	return n, err
}

func (k *kept) count() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.parts)
}

func (k *kept) wait(ctx context.Context) error {
	select {
	case <-k.sent:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// begin keeps all from there on, besides the parts that are kept already.
func (k *kept) begin(at int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.parts = append(k.parts, at)
	k.from.Keep(k.parts[0])
}

// end lets go of the part that begins there, once those before it are not needed either. Nothing stays that no part is made of.
func (k *kept) end(begin int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.parts = slices.DeleteFunc(k.parts, func(at int64) bool { return at == begin })
	from := int64(math.MaxInt64)
	if len(k.parts) > 0 {
		from = k.parts[0]
	}
	k.from.Keep(from)
	select {
	case k.sent <- struct{}{}:
	default:
	}
}

// tooLong says how an object that took all its parts could have been longer.
func (u *upload) tooLong(sent int64, keeps bool) error {
	how := "set part-size= in the target's URL"
	switch {
	case !keeps && u.store.at.proof == bySize:
		how = "without checksum=none in the target's URL, parts could be larger; or " + how
	case !keeps:
		how += " (parts that come from memory do not grow beyond " + humanize.IBytes(largestPart) + ")"
	}
	return u.failed(fmt.Errorf("it is longer than the %s that %d parts have held: %s", humanize.IBytes(uint64(sent)), u.store.at.maxParts, how))
}

// tooNarrow is for a size of parts that is fixed, and that there is no room for.
func (u *upload) tooNarrow(size int64) error {
	return u.failed(fmt.Errorf("there is no room in the spool for a part of %s: make part-size= in the target's URL smaller, or the spool larger",
		humanize.IBytes(uint64(size))))
}
