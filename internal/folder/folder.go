// Package folder reads and writes the folder with a volume's content as a whole: into an archive, out of one, or out of one in place of
// what it holds.
//
// Whatever goes wrong, what was there before is still there: data is written only where nothing is, or beside what is there. Which folder it
// is, and that nothing else writes to it meanwhile, is left to others.
package folder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"

	"github.com/backupd/backupd/internal/archive"
)

// Source is what a folder is filled from.
type Source interface {
	// Size is the bytes that it takes, or 0 when that is not known.
	Size() int64
	// Part tells whether it has only some of what belongs into the folder.
	Part() bool
	// Extract writes into a folder of this machine. What it writes before an error is for the caller to remove.
	Extract(ctx context.Context, dir string) (archive.Report, error)
	// Send gives the archive to a function that does so elsewhere, with what it is to take of it, and gives what that came to.
	Send(ctx context.Context, to func(from io.Reader, o archive.ExtractOptions) (archive.Report, error)) (archive.Report, error)
}

// ErrNothing marks a source that holds nothing of what is wanted.
var ErrNothing = errors.New("nothing in it matches")

// Folder is a folder of this machine.
type Folder struct {
	path   string
	beside bool
}

// At gives the folder at a path. Beside says that what lies beside it is its owner's too, so that other folders may be made there.
func At(path string, beside bool) Folder { return Folder{path, beside} }

// Close does nothing.
func (f Folder) Close() error { return nil }

// Path gives its path.
func (f Folder) Path() string { return f.path }

// Take takes the folder's archive, as the function of that name does, without what restores have lying there.
func (f Folder) Take(ctx context.Context, w io.Writer, o archive.Options) (*Taking, error) {
	if err := f.unsettled(); err != nil {
		return nil, err
	}
	o.Exclude = append(slices.Clip(o.Exclude), notContent()...)
	return take(ctx, f.path, w, o)
}

// Empty tells whether nothing is in it, but for what restores have lying there. In the middle of an exchange, which is ErrUnsettled, it is
// neither.
func (f Folder) Empty(context.Context) (bool, error) {
	if err := f.unsettled(); err != nil {
		return false, err
	}
	for _, err := range children(f.path) {
		return false, err
	}
	return true, nil
}

// children gives the names of what is in a folder and belongs to it.
func children(dir string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		root, err := os.OpenRoot(dir)
		if err != nil {
			yield("", err)
			return
		}
		defer root.Close()
		for name, err := range names(root, ".") {
			if !yield(name, err) {
				return
			}
		}
	}
}

// Fill extracts into the folder, which is empty. Whatever becomes of this process meanwhile, nothing shows there or all of it; in the moment
// between, the folder is unsettled. Making it survive a power cut is left to the kernel.
func (f Folder) Fill(ctx context.Context, from Source) (report archive.Report, err error) {
	s, report, err := f.stage(ctx, from, true)
	if err != nil {
		return archive.Report{}, err
	}
	defer func() { err = errors.Join(err, s.Close(context.WithoutCancel(ctx))) }()
	if err := s.Exchange(ctx); err != nil {
		return archive.Report{}, fmt.Errorf("move what was extracted to its place: %w", err)
	}
	return report, s.Discard(ctx) // of nothing but the folder that it came in
}

// extract refuses early what would fill the disk.
func (f Folder) extract(ctx context.Context, from Source, dir string) (archive.Report, error) {
	if err := f.enoughSpace(from.Size()); err != nil {
		return archive.Report{}, err
	}
	report, err := from.Extract(ctx, dir)
	if err == nil && report.Entries == 0 {
		err = ErrNothing
	}
	return report, err
}

// enoughSpace goes by the folder's own file system, which is that of its stages too.
func (f Folder) enoughSpace(bytes int64) error {
	var st unix.Statfs_t
	if err := unix.Statfs(f.path, &st); err != nil {
		return fmt.Errorf("ask for the free space at %s: %w", f.path, err)
	}
	if free := int64(st.Bavail) * st.Bsize; free < bytes {
		return fmt.Errorf("restore to %s: %s are needed and %s are free: %w", f.path, humanize.IBytes(uint64(bytes)),
			humanize.IBytes(uint64(max(free, 0))), unix.ENOSPC)
	}
	return nil
}
