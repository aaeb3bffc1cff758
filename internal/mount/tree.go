package mount

import (
	"context"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backupd/backupd/internal/snapshot"
)

// tree is the folders above snapshots, and which snapshots there are. It is listed again when somebody looks and the listing is old.
type tree struct {
	source Source
	hosts  bool
	now    func() time.Time
	failed func(err error)

	listing sync.Mutex // held by who lists
	mu      sync.Mutex
	listed  time.Time
	nodes   []*node // by their number
	snaps   []*node // folders of snapshots, by theirs
}

// node is a folder above snapshots, the folder of one, or the symlink to the latest. Once made it stays, as the kernel may ask for its number.
type node struct {
	id     nodeID
	name   string
	kids   []*node // in the order in which they came: none changes its place, so that a place in a listing stays one
	named  map[string]*node
	gone   bool         // from the last listing
	snap   snapshot.Ref // of the folder of a snapshot; else zero
	link   string       // of the symlink, what it says
	newest time.Time
}

func (n *node) isLatest() bool { return n.link != "" }

func (n *node) isSnapshot() bool { return n.snap != snapshot.Ref{} }

func (n *node) mode() uint32 {
	if n.isLatest() {
		return unix.S_IFLNK | 0o777
	}
	return unix.S_IFDIR | 0o555
}

const latest = "latest"

func newTree(source Source, hosts bool, now func() time.Time, failed func(error)) *tree {
	t := &tree{source: source, hosts: hosts, now: now, failed: failed}
	t.nodes = []*node{nil, {id: 1, named: map[string]*node{}}} // the root is FUSE's number 1
	return t
}

// list looks which snapshots there are, unless that was done a moment ago.
func (t *tree) list(ctx context.Context) error {
	t.listing.Lock()
	defer t.listing.Unlock()
	if !t.old() {
		return nil
	}
	all, err := t.source.Snapshots(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.listed = t.now()
	if err == nil { // else what is not listed may be there all the same
		for _, n := range t.nodes[1:] {
			n.gone = n.id != 1
		}
		for _, n := range t.snaps {
			n.gone = true
		}
	}
	for _, s := range all {
		t.add(s)
	}
	return err
}

func (t *tree) old() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.listed.IsZero() || t.now().Sub(t.listed) >= refresh
}

// refreshed looks again if need be. What is known stays when that fails.
func (t *tree) refreshed(ctx context.Context) {
	if !t.old() {
		return
	}
	if err := t.list(ctx); err != nil && ctx.Err() == nil {
		t.failed(err)
	}
}

// add puts a snapshot, oldest first of its volume, into the tree.
func (t *tree) add(s Snapshot) {
	at := t.nodes[1]
	if t.hosts {
		at = t.folder(at, snapshot.Escape(s.Host))
	}
	at.see(s.Taken)
	at = t.folder(at, snapshot.Escape(s.Volume))
	at.see(s.Taken)
	n := at.named[string(s.ID)]
	if n == nil {
		n = &node{id: snapshotNode(len(t.snaps)), snap: s.Ref, newest: s.Taken}
		t.snaps = append(t.snaps, n)
		at.add(string(s.ID), n)
	}
	n.gone = false
	if s.Good {
		t.link(at, s)
	}
}

// link has "latest" mean a snapshot if it is later than what it means.
func (t *tree) link(in *node, s Snapshot) {
	n := t.child(in, latest)
	if n.gone || !s.Taken.Before(n.newest) {
		n.link, n.newest, n.gone = string(s.ID), s.Taken, false
	}
}

func (t *tree) folder(in *node, name string) *node {
	n := t.child(in, name)
	n.gone = false
	return n
}

// child gives what a folder has under a name; what is new is gone until somebody says otherwise.
func (t *tree) child(in *node, name string) *node {
	n := in.named[name]
	if n == nil {
		n = &node{id: nodeID(len(t.nodes)), named: map[string]*node{}, gone: true}
		t.nodes = append(t.nodes, n)
		in.add(name, n)
	}
	return n
}

func (n *node) add(name string, kid *node) {
	kid.name = strings.Clone(name)
	n.kids = append(n.kids, kid)
	n.named[name] = kid
}

func (n *node) see(taken time.Time) {
	if taken.After(n.newest) {
		n.newest = taken
	}
}

// at gives a copy of the node of a number; nil if it is gone. Of a number within a snapshot it is the snapshot's folder.
func (t *tree) at(id nodeID) *node {
	t.mu.Lock()
	defer t.mu.Unlock()
	all, number := t.nodes, int(id)
	if i, within := id.snapshot(); within {
		all, number = t.snaps, i
	}
	if number >= len(all) || all[number] == nil || all[number].gone {
		return nil
	}
	n := *all[number]
	return &n
}

// kid gives a copy of what a folder above snapshots has under a name; nil for nothing.
func (t *tree) kid(id nodeID, name string) *node {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := t.nodes[id].named[name]; n != nil && !n.gone {
		n := *n
		return &n
	}
	return nil
}

// after gives a copy of the first of a folder's kids from a place on that is there, and the place after it; nil at the end.
func (t *tree) after(id nodeID, place int) (*node, int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	kids := t.nodes[id].kids
	for ; place < len(kids); place++ {
		if !kids[place].gone {
			n := *kids[place]
			return &n, place + 1
		}
	}
	return nil, place
}
