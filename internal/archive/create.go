package archive

import (
	"cmp"
	"context"
	"io"
	"time"
)

// Options says how to make an archive.
type Options struct {
	Level     Level
	Workers   int      // that compress at the same time; 0 is one per processor, up to eight, and fewer for levels that take much memory
	Exclude   []string // patterns that ValidateGlob takes; one that matches a folder excludes all below it
	ReadLimit int64    // bytes of file data per second; 0 is no limit
	Scratch   string   // folder for what does not fit into memory; "" is the system's for temporary files

	// Clones is a folder in which files of the archived one can be cloned (see CanClone), so that Take need not read the large ones.
	// "" is for reading all of them at once.
	Clones string
	// Ahead is how many bytes of small files and headers Take may leave in a scratch file for Finish, when it clones. What is beyond
	// is archived at the pace of w. 0 is 256 MiB.
	Ahead int64

	// Progress is called with the bytes of file data read so far, often, and by the caller's goroutine: it must be quick. May be nil.
	Progress func(read int64)

	// Clock tells the time. With it files are looked at and read in an order that lets a later archive know what has not changed since, and
	// the index says when that was. That waits for what is dirty of them to be written. nil is for none of that.
	Clock func() time.Time
	// Prove asks for a proof that nothing moved while the folder was read (see Summary.Still), which takes a Clock, and costs a second look
	// at everything.
	Prove bool

	// Base is an earlier archive of the folder. What has not changed since is not read, and not stored again: the new archive leans on those
	// that have it. It takes a Clock. nil, or one that cannot be relied upon (see Summary.Distrust), means that everything is read.
	Base Base

	// Observer is shown what goes into the archive. May be nil.
	Observer Observer

	step      func(what, path string) // see walker
	unsettled time.Duration           // the span of that name, where it is another one
}

func (o *Options) span() time.Duration { return cmp.Or(o.unsettled, unsettled) }

// moment is that of right now, or nil without a clock.
func (o *Options) moment(dir string) (*moment, error) {
	if o.Clock == nil {
		return nil, nil
	}
	return thisMoment(dir, o.Clock)
}

// Summary is what went into an archive.
type Summary struct {
	Entries int64 // members of the tar, the root included
	Bytes   int64 // of file data, without holes, each hard link counted once
	Plain   int64 // bytes of the tar, also of what lies in other archives
	Stored  int64 // bytes written

	// Directory is the SHA-256 of the index's directory, which has those of all else: it vouches for whatever part of the archive
	// is read later.
	Directory [32]byte

	Vanished int64 // entries that were there when their folder was read, but not when they were
	Resized  int64 // files that shrank or grew while they were read: padded or cut to the size that they had at first
	Sockets  int64 // left out
	Cloned   int64 // files whose data was read from a clone
	Still    bool  // it is proven that nothing moved while the folder was read; false also where nothing can be proven

	// Of a Base: how many files' data was taken over unread, and the bytes of these, which count as Bytes too; the archives that this one
	// leans on; whether everything is just as the base has it, so that it is good for this moment as well; and if nothing, or nothing from
	// somewhere on, could be taken over, why.
	Reused      int64
	ReusedBytes int64
	Leans       []Lean
	Unchanged   bool
	Distrust    string

	// Mounts are the paths on which something else is mounted, which is left out. Making one takes privilege, so
	// they are few.
	Mounts []string
}

// Create writes the archive of dir, which is a folder and no symlink to one, to w: of what is on dir's own file system, and of nothing that
// is mounted below.
//
// A file that can't be read is an error for the whole archive. Names in errors are relative to dir. Memory is bounded by the number of workers
// (4 MiB each, and 3 to 7 that it takes to compress) and a constant: names of huge folders, and the first names of files with further hard links to come, go to scratch files.
//
// Create ends soon after ctx does or w fails; but it waits for a Write in progress, so w must not block for ever.
func Create(ctx context.Context, dir string, w io.Writer, o Options) (Summary, error) {
	t, err := Take(ctx, dir, w, o)
	if err != nil {
		return Summary{}, err
	}
	return t.Finish(ctx)
}
