// Package history tells of files in which of a volume's snapshots they are, and in how many versions.
//
// It takes in the entries of one snapshot after the other, oldest first, and merges each with a list that lies in a scratch file. So its
// memory grows with neither the files nor the bytes of a volume; what it holds at a time is one path with its versions. Where entries
// come from, and which of them are asked for, it leaves to others.
package history

import (
	"bufio"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"

	"github.com/backupd/backupd/internal/archive"
)

// Span is snapshots that follow one another, counted from 0 in the order in which they were added.
type Span struct{ First, Last int }

// Len is how many snapshots these are.
func (s Span) Len() int { return s.Last - s.First + 1 }

// Version is what a path was in some snapshots: the same kind of thing in all of them, and of a file the same size and time of
// modification, of a symlink what it says. So rsync tells by default, and archive.Diff; owner and permissions are of the first of them.
type Version struct {
	archive.Indexed
	In []Span
}

// File is a path and what it was, in the order in which it first was that.
type File struct {
	Path     string
	Versions []Version
	Gone     []Span // snapshots without it, after it was there first
}

// History is what is known after so many snapshots.
type History struct {
	scratch string
	list    *os.File // records of File, in the order of the walk; nil for none
	added   int
}

// New begins with nothing. What is known goes to a file in the folder scratch, which has no name.
func New(scratch string) *History { return &History{scratch: scratch} }

// Close forgets all of it.
func (h *History) Close() error {
	if h.list == nil {
		return nil
	}
	return h.list.Close()
}

// Add takes in a snapshot that is later than all before: its entries, in the order of the walk. When they end with an error, it is as if it
// had not been.
func (h *History) Add(entries iter.Seq2[archive.Indexed, error]) error {
	list, err := archive.ScratchFile(h.scratch)
	if err != nil {
		return err
	}
	if err := h.merge(entries, list); err != nil {
		return errors.Join(err, list.Close())
	}
	err = h.Close()
	h.list, h.added = list, h.added+1
	return err
}

// merge writes what is known once these entries are, too.
func (h *History) merge(entries iter.Seq2[archive.Indexed, error], to io.Writer) error {
	buffered := bufio.NewWriter(to)
	out := gob.NewEncoder(buffered)
	nextFile, stopFiles := iter.Pull2(h.records())
	defer stopFiles()
	nextEntry, stopEntries := iter.Pull2(entries)
	defer stopEntries()
	known, fresh := pull(nextFile), pull(nextEntry)
	for known.there || fresh.there {
		var f File
		order := order(known, fresh)
		if order <= 0 {
			f = known.at
			known = pull(nextFile)
		}
		if order >= 0 {
			f.add(fresh.at, h.added)
			fresh = pull(nextEntry)
		}
		if err := errors.Join(known.err, fresh.err); err != nil {
			return err
		}
		if err := out.Encode(f); err != nil {
			return fmt.Errorf("write scratch file: %w", err)
		}
	}
	if err := errors.Join(known.err, fresh.err); err != nil {
		return err
	}
	if err := buffered.Flush(); err != nil {
		return fmt.Errorf("write scratch file: %w", err)
	}
	return nil
}

// add says what the path is in a snapshot.
func (f *File) add(e archive.Indexed, in int) {
	f.Path = e.Path
	const other = archive.KindChanged | archive.DataChanged | archive.LinkChanged
	for i := range f.Versions {
		v := &f.Versions[i]
		if archive.Compare(&v.Indexed, &e)&other != 0 {
			continue
		}
		if last := &v.In[len(v.In)-1]; last.Last == in-1 {
			last.Last = in
		} else {
			v.In = append(v.In, Span{in, in})
		}
		return
	}
	f.Versions = append(f.Versions, Version{e, []Span{{in, in}}})
}

// Files gives all that is known, in the order of the walk. After an error there is nothing more.
func (h *History) Files() iter.Seq2[File, error] {
	return func(yield func(File, error) bool) {
		for f, err := range h.records() {
			if err == nil {
				f.Gone = f.gone(h.added)
			}
			if !yield(f, err) || err != nil {
				return
			}
		}
	}
}

// records gives the list as it lies in the scratch file.
func (h *History) records() iter.Seq2[File, error] {
	return func(yield func(File, error) bool) {
		if h.list == nil {
			return
		}
		if _, err := h.list.Seek(0, io.SeekStart); err != nil {
			yield(File{}, fmt.Errorf("read scratch file: %w", err))
			return
		}
		in := gob.NewDecoder(bufio.NewReader(h.list))
		for {
			var f File
			err := in.Decode(&f)
			if err == io.EOF {
				return
			}
			if err != nil {
				err = fmt.Errorf("read scratch file: %w", err)
			}
			if !yield(f, err) || err != nil {
				return
			}
		}
	}
}

// gone gives the snapshots, of so many, that do not have the path although an earlier one has.
func (f File) gone(snapshots int) (all []Span) {
	there := make([]bool, snapshots)
	for _, v := range f.Versions {
		for _, s := range v.In {
			for i := s.First; i <= s.Last; i++ {
				there[i] = true
			}
		}
	}
	for i := f.Versions[0].In[0].First; i < snapshots; i++ {
		switch {
		case there[i]:
		case len(all) > 0 && all[len(all)-1].Last == i-1:
			all[len(all)-1].Last = i
		default:
			all = append(all, Span{i, i})
		}
	}
	return all
}

// pulled is what comes next of a sequence.
type pulled[T any] struct {
	at    T
	there bool
	err   error
}

func pull[T any](next func() (T, error, bool)) pulled[T] {
	at, err, ok := next()
	return pulled[T]{at, ok && err == nil, err}
}

// order tells which of two comes first: below 0 what is known, above it what is fresh, and 0 is the same path.
func order(known pulled[File], fresh pulled[archive.Indexed]) int {
	switch {
	case !known.there:
		return 1
	case !fresh.there:
		return -1
	}
	return archive.ComparePaths(known.at.Path, fresh.at.Path)
}
