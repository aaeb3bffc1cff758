package archive

import (
	"context"
	"fmt"
	"io"
	"io/fs"
)

// FileReader reads one file of an archive.
type FileReader struct {
	Indexed
	ctx  context.Context // of what it fetches, as with the body of a response
	flow *flow
	all  segments // that are not read yet, holes being what is between them
	at   int64    // in the file
}

// OpenFile opens a file, or what a hard link to one names. Only the frames that it lies in are fetched, ahead of reading, and each is
// checked against its SHA-256 before a byte of it is given. What is no file has nothing to read, which is fs.ErrInvalid.
//
// Reading ends with ctx, and the reader must be closed.
func (r *Reader) OpenFile(ctx context.Context, name string) (*FileReader, error) {
	e, err := r.Stat(ctx, name)
	if err != nil {
		return nil, err
	}
	if e.Kind != File {
		return nil, fmt.Errorf("open %q: a %v: %w", name, e.Kind, fs.ErrInvalid)
	}
	data := e.from + e.header
	f := &FileReader{Indexed: e, ctx: ctx, flow: r.flow(ctx, one(span{data, e.end()})), all: segments{{0, e.Size}}}
	if e.Sparse {
		f.all, err = readMap(e.Size, e.stored, f.flow.plain.full)
		if err != nil {
			f.flow.close()
			return nil, fmt.Errorf("open %q: %w", name, ended(ctx, err))
		}
	}
	return f, nil
}

// Read gives what comes next, with holes as zeros.
func (f *FileReader) Read(p []byte) (int, error) {
	if f.at == f.Size {
		return 0, io.EOF
	}
	for len(f.all) > 0 && f.all[0].size == 0 {
		f.all = f.all[1:]
	}
	hole := f.Size - f.at
	if len(f.all) > 0 {
		hole = f.all[0].at - f.at
	}
	if n := int(min(hole, int64(len(p)))); n > 0 || len(p) == 0 {
		clear(p[:n])
		f.at += int64(n)
		return n, nil
	}
	s := &f.all[0]
	data, err := f.flow.plain.some(min(s.size, int64(len(p))))
	if err != nil {
		return 0, fmt.Errorf("read %q: %w", f.Path, ended(f.ctx, err))
	}
	n := int64(copy(p, data))
	s.at, s.size, f.at = s.at+n, s.size-n, f.at+n
	return int(n), nil
}

// Close ends what is being fetched. What has been read is right whatever it gives, which is nil.
func (f *FileReader) Close() error {
	f.flow.close()
	return nil
}
