package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"io/fs"
	"strings"
	"testing"
)

// sampleArchive has blocks of every kind.
func sampleArchive(t testing.TB) []byte {
	dir := t.TempDir()
	write(t, dir, map[string]string{"a": "1", "d/e": strings.Repeat("x", 3000), "\xff": ""})
	data, _ := archived(t, dir, Options{Level: Fastest})
	return data
}

func FuzzTrailer(f *testing.F) {
	data := sampleArchive(f)
	f.Add(data[len(data)-trailerSize:], int64(len(data)))
	f.Add([]byte(endMagic), int64(8))
	f.Fuzz(func(t *testing.T, tail []byte, size int64) {
		got, err := parseTrailer(tail, size)
		if err != nil {
			return
		}
		if got.index <= 0 || got.directory < got.index || got.length <= 0 || got.directory+got.length+trailerSize != size {
			t.Errorf("of %d bytes: %+v", size, got)
		}
		if back := got.append(nil); !bytes.HasSuffix(tail, back) {
			t.Errorf("%x reads as %+v, which is written as %x", tail, got, back)
		}
	})
}

func FuzzDirectory(f *testing.F) {
	data := sampleArchive(f)
	r := reader(f, data)
	var plain bytes.Buffer
	if err := r.own.codec.append(&plain, r.own.directory); err != nil {
		f.Fatal(err)
	}
	tr := r.own.trailer
	f.Add(plain.Bytes(), tr.index, tr.directory)
	f.Fuzz(func(t *testing.T, plain []byte, index, directory int64) {
		if index <= 0 || directory < index || directory > maxSize {
			return // as the trailer's reader sees to
		}
		c, err := newCodec()
		must(t, err)
		d, err := parseDirectory(plain, c, trailer{index: index, directory: directory})
		if err != nil {
			return
		}
		place := index
		for _, b := range d.Blocks {
			if b.place != place || b.Length <= 0 || b.Plain > maxBlock {
				t.Errorf("block %+v", b)
			}
			place += b.Length
		}
		if place != directory {
			t.Errorf("blocks end at %d, the directory is at %d", place, directory)
		}
	})
}

// FuzzBlocks reads records that nobody wrote, in an archive whose digests are all right: as one has it that is made to do harm.
func FuzzBlocks(f *testing.F) {
	sample := sampleArchive(f)
	r := reader(f, sample)
	for _, slices := range [][]sliceRecord{
		{{Archive: 1, Length: 100}, {Archive: 0, At: 100, Length: 3484}},
		{{Archive: 0, Length: 1000}, {Archive: 1, At: 3, Length: 7}, {Archive: 0, At: 50, Length: 2577}},
		{{Archive: 1, At: 1 << 40, Length: 3584}},
		{{Archive: 2, Length: 3584}},
	} {
		var records bytes.Buffer
		for _, s := range slices {
			must(f, r.own.codec.append(&records, &s))
		}
		f.Add(byte(sliceSection), records.Bytes(), int64(len(slices)))
	}
	for kind, blocks := range map[tag][]*blockInfo{
		entrySection: r.entryBlocks, sliceSection: r.sliceBlocks, frameSection: r.own.frameBlocks,
	} {
		for b, got := range r.own.blocks(f.Context(), blocks) {
			must(f, got.err)
			f.Add(byte(kind), got.records, b.Count)
		}
	}
	f.Fuzz(func(t *testing.T, kind byte, records []byte, count int64) {
		data, err := rebuilt(t, tag(kind), records, count, lean{
			Name: []byte("sample"), Size: int64(len(sample)), Directory: r.own.trailer.digest,
		})
		if err != nil {
			return
		}
		s := &stock{ReaderAt: bytes.NewReader(data)}
		r, err := Open(t.Context(), s.source, int64(len(data)), ReaderOptions{Workers: 1, Archive: func(context.Context, Lean) (Source, error) {
			return (&stock{ReaderAt: bytes.NewReader(sample)}).source, nil
		}})
		if err != nil {
			return
		}
		defer r.Close()
		last := ""
		for e, err := range r.Entries(t.Context(), ".") {
			if err != nil {
				break
			}
			if last != "" && ComparePaths(last, e.Path) >= 0 || e.end() > r.Contents().Tar || e.Size < 0 {
				t.Errorf("entry %+v after %q", e, last)
			}
			last = e.Path
			if f, err := r.OpenFile(t.Context(), e.Path); err == nil {
				n, err := io.Copy(io.Discard, io.LimitReader(f, 1<<20))
				if err == nil && n != min(f.Size, 1<<20) {
					t.Errorf("%q: %d of %d bytes", e.Path, n, f.Size)
				}
				must(t, f.Close())
			}
			browse(t, r, e)
		}
		_ = r.Tar(t.Context(), io.Discard) // an error is as good as none
		_, _ = r.Verify(t.Context(), nil)
	})
}

// browse looks at an entry as somebody does who walks from folder to folder.
func browse(t *testing.T, r *Reader, e Indexed) {
	again, err := r.At(t.Context(), e.Position())
	if err == nil && again.Path != e.Path {
		t.Errorf("%q is %q by its position", e.Path, again.Path)
	}
	last := ""
	for kid, err := range r.Children(t.Context(), e, e.Position()) {
		if err != nil {
			break
		}
		if !below(e.Path, kid.Path) || !fs.ValidPath(kid.Path) || last != "" && ComparePaths(last, kid.Path) >= 0 {
			t.Errorf("%q after %q in %q", kid.Path, last, e.Path)
		}
		last = kid.Path
	}
	if e.Size < 1<<20 {
		p := make([]byte, e.Size)
		_, _ = r.ReadAt(t.Context(), e, p, 0) // an error is as good as none
	}
	_, _ = r.Xattrs(t.Context(), e)
}

// rebuilt is a small archive with other records in the blocks of one kind, which may lean on another.
func rebuilt(t testing.TB, kind tag, records []byte, count int64, on ...lean) ([]byte, error) {
	x, err := newIndexWriter("")
	must(t, err)
	defer x.close()
	framer, err := newFramer(None, 1)
	must(t, err)
	b := &block{plain: tarOf(t, file("a", "data"), folder("d"))}
	framer.frame(b)
	out := append([]byte(nil), b.stored...)
	must(t, x.frame(b))
	must(t, x.slice(sliceRecord{Length: x.totals.Plain}))
	must(t, x.endSlice())
	must(t, x.entry(&member{Entry: Entry{Path: "a", Kind: File, Size: 4}, data: tarBlock, stored: 4}))
	tr, d := trailer{index: int64(len(out))}, directory{Leans: on, Totals: x.totals}
	for _, w := range []*blockWriter{&x.entries, &x.frames, &x.slices} {
		if w.kind == kind {
			w.records.Reset()
			w.records.Write(records)
			w.current.Count = count
		}
		if err := w.seal(); err != nil {
			return nil, err
		}
		d.Blocks = append(d.Blocks, w.blocks...)
		out = append(out, w.shelf.mem...)
	}
	d.Totals.Entries, d.Totals.Frames = d.count(entrySection), d.count(frameSection)
	var plain bytes.Buffer
	must(t, x.codec.append(&plain, &d))
	section := appendSection(nil, directorySection, x.encoder, plain.Bytes())
	tr.directory, tr.length, tr.digest = int64(len(out)), int64(len(section)), sha256.Sum256(section)
	return tr.append(append(out, section...)), nil
}
