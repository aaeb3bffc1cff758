package seal_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/backupd/backupd/internal/seal"
)

func BenchmarkWriter(b *testing.B) {
	public, _ := pair(b)
	to, data := recipients(b, public), random(1<<20)
	w, err := to.Writer(io.Discard)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := w.Write(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRange(b *testing.B) {
	public, private := pair(b)
	o := open(b, &object{stored: sealed(b, recipients(b, public), random(64<<20))}, keysIn(b, private))
	b.SetBytes(o.Size())
	for b.Loop() {
		from, err := o.Range(b.Context(), 0, o.Size())
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, from); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStream(b *testing.B) {
	public, private := pair(b)
	stored, keys := sealed(b, recipients(b, public), random(64<<20)), keysIn(b, private)
	b.SetBytes(int64(len(stored)))
	for b.Loop() {
		from, err := seal.Stream(bytes.NewReader(stored), keys)
		if err == nil {
			_, err = io.Copy(io.Discard, from)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}
