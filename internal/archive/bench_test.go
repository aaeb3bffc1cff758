package archive

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sample makes a folder like a volume: some large files, many small ones, half of the bytes compressible.
func sample(b *testing.B) string {
	b.Helper()
	dir := b.TempDir()
	random := make([]byte, 8<<20)
	rand.NewChaCha8([32]byte{3}).Read(random)
	var words strings.Builder
	for i := 0; words.Len() < 32<<20; i++ {
		fmt.Fprintf(&words, "%d row with a number %x and some text that repeats\n", i, i*i)
	}
	files := map[string]string{"large": words.String(), "random": string(random)}
	for i := range 2000 {
		at := i * 4096
		files[fmt.Sprintf("d%d/s%d/f%d", i%7, i%31, i)] = words.String()[at : at+1000+i]
	}
	write(b, dir, files)
	return dir
}

func BenchmarkCreate(b *testing.B) {
	dir := sample(b)
	for _, level := range []Level{None, Fastest, Default} {
		b.Run(level.String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				sum, err := Create(b.Context(), dir, io.Discard, Options{Level: level})
				must(b, err)
				b.SetBytes(sum.Bytes)
				b.ReportMetric(float64(sum.Stored)/float64(sum.Plain), "stored/plain")
			}
		})
	}
}

func BenchmarkExtract(b *testing.B) {
	dir := sample(b)
	data, sum := archived(b, dir, Options{Level: Fastest})
	b.SetBytes(sum.Bytes)
	into := b.TempDir()
	for i := 0; b.Loop(); i++ {
		// Into folders of their own: removing one takes as long as restoring it.
		dst := filepath.Join(into, fmt.Sprint(i))
		must(b, os.Mkdir(dst, 0o755))
		_, err := Extract(b.Context(), bytes.NewReader(data), dst, ExtractOptions{})
		must(b, err)
	}
}
