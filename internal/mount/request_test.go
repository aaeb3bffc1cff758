package mount

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// A signal ends a request only when it has had time to end by itself, and what is served ends all at once.
func TestARequestOutlivesASignalForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		serving, end := context.WithCancel(t.Context())
		defer end()
		f := &filesystem{ctx: serving}
		signal := make(chan struct{})
		ctx, stop := f.request(signal)
		defer stop()
		close(signal)
		time.Sleep(patience - time.Second)
		if synctest.Wait(); ctx.Err() != nil {
			t.Error("it has ended at once")
		}
		time.Sleep(2 * time.Second)
		if synctest.Wait(); ctx.Err() == nil {
			t.Error("it goes on")
		}
		other, stopOther := f.request(nil)
		defer stopOther()
		if end(); other.Err() == nil {
			t.Error("it goes on when nothing is served any more")
		}
	})
}

func TestNumbersOfNodes(t *testing.T) {
	first := snapshotNode(0)
	if n, within := first.snapshot(); n != 0 || !within || first.position().Block != 0 {
		t.Errorf("%d, %v, %v", n, within, first.position())
	}
	if _, within := nodeID(1).snapshot(); within {
		t.Error("the root is within a snapshot")
	}
	p := first.position()
	p.Block, p.Record = 1<<blockBits-1, 1<<recordBits-1
	id, err := snapshotNode(1<<19 - 2).entry(p)
	if n, _ := id.snapshot(); err != nil || n != 1<<19-2 || id.position() != p || int64(id.place())+firstPlace <= 0 {
		t.Errorf("%x, %v", id, err)
	}
	p.Block++
	if _, err := first.entry(p); err == nil {
		t.Error("a block that has no number")
	}
}
