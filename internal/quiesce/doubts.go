package quiesce

import (
	"slices"
	"sync"
)

// doubts are the reasons why data may have moved although containers are held.
type doubts struct {
	lost    chan struct{} // closed by the first that makes it pointless to read on
	lenient bool          // nothing that lose gets does

	mu      sync.Mutex
	reasons []string
}

// many is how many reasons are kept: a container that crashes and restarts all the time would give thousands.
const many = 10

// note keeps a reason.
func (d *doubts) note(reason string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.reasons) < many && !slices.Contains(d.reasons, reason) {
		d.reasons = append(d.reasons, reason)
	}
}

// lose keeps a reason for which a reader should stop that wants the data to hold still.
func (d *doubts) lose(reason string) {
	if d.lenient {
		d.note(reason)
		return
	}
	d.fail(reason)
}

// fail keeps a reason for which a reader should stop in any case.
func (d *doubts) fail(reason string) {
	d.note(reason)
	d.mu.Lock()
	defer d.mu.Unlock()
	select {
	case <-d.lost:
	default:
		close(d.lost)
	}
}

func (d *doubts) all() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.reasons)
}
