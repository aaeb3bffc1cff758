package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"strings"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/folder"
)

// Comparison counts what a restore would come to. Bytes are those of the files that it would write.
type Comparison struct {
	New, Changed, Gone, Same int64
	Bytes                    int64
	Filled                   bool // something is there besides the folder itself
}

// entries come in the order of the walk.
type entries = iter.Seq2[archive.Indexed, error]

// CompareDir tells each change that a restore would make to what is in a folder, without writing anything. It goes by the snapshot's index
// and the stat of what is there: no data is read.
func CompareDir(ctx context.Context, req Request, dir string, each func(archive.Change) error) (Comparison, error) {
	_, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return compare(ctx, req, nothing, each)
	}
	if err != nil {
		return Comparison{}, fmt.Errorf("look at what is there: %w", err)
	}
	return compare(ctx, req, folder.At(dir, false).Entries(ctx), each)
}

// CompareVolume is CompareDir of a volume, which need not be there.
func (r *Runner) CompareVolume(ctx context.Context, req Request, name string, each func(archive.Change) error) (c Comparison, err error) {
	v, err := r.Engine.Volume(ctx, name)
	if errors.Is(err, engine.ErrNotFound) {
		return compare(ctx, req, nothing, each)
	}
	if err != nil {
		return Comparison{}, err
	}
	f, err := r.Access.Reader(ctx, v)
	if err != nil {
		return Comparison{}, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return compare(ctx, req, f.Entries(ctx), each)
}

func nothing(func(archive.Indexed, error) bool) {}

func compare(ctx context.Context, req Request, there entries, each func(archive.Change) error) (c Comparison, err error) {
	from, err := req.From.Open(ctx, req.Snapshot)
	if err != nil {
		return Comparison{}, err
	}
	defer from.Close()
	there = c.looking(there)
	stored := c.counting(archive.Covered(from.Entries(ctx, "."), req.Paths))
	part := parting{part: len(req.Paths) > 0}
	for change, err := range archive.Changes(archive.Covered(there, req.Paths), stored) {
		if err == nil && part.leaves(change) {
			continue
		}
		if err == nil {
			c.count(change)
			err = each(change)
		}
		if err != nil {
			return c, fmt.Errorf("compare snapshot %s with what is there: %w", req.Snapshot.ID, err)
		}
	}
	if c.New+c.Changed+c.Same == 0 {
		return c, fmt.Errorf("restore snapshot %s: %w: %q", req.Snapshot.ID, ErrNothing, req.Paths)
	}
	return c, nil
}

// parting knows what of the differences a restore of a part leaves as they are: what only is there stays there, and so do folders that both have.
type parting struct {
	part     bool
	replaced string // a folder that something else takes the place of, with all that is in it
}

func (p *parting) leaves(c archive.Change) bool {
	switch {
	case !p.part:
		return false
	case c.What == archive.Removed:
		return p.replaced == "" || !strings.HasPrefix(c.Path, p.replaced+"/")
	case c.Before != nil && c.Before.Kind == archive.Folder && c.After.Kind == archive.Folder:
		return true
	case c.Before != nil && c.Before.Kind == archive.Folder:
		p.replaced = c.Path
	}
	return false
}

// looking notes whether anything is there.
func (c *Comparison) looking(there entries) entries {
	return func(yield func(archive.Indexed, error) bool) {
		for e, err := range there {
			c.Filled = c.Filled || err == nil && e.Path != "."
			if !yield(e, err) {
				return
			}
		}
	}
}

// counting takes all entries of a snapshot for the same as what is there, until they are told to be something else.
func (c *Comparison) counting(all entries) entries {
	return func(yield func(archive.Indexed, error) bool) {
		for e, err := range all {
			if err == nil {
				c.Same++
				c.Bytes += e.Size
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

func (c *Comparison) count(change archive.Change) {
	switch change.What {
	case archive.Added:
		c.New++
		c.Same--
	case archive.Removed:
		c.Gone++
	default:
		c.Changed++
		c.Same--
	}
}
