package archive

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// The index that was tapped off is all after the data, in however small pieces it comes; and by it a reader finds everything but the data.
func TestTap(t *testing.T) {
	dir := t.TempDir()
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 40 {
		data := make([]byte, random.IntN(1<<18))
		if i%2 == 0 { // does not compress
			for j := range data {
				data[j] = byte(random.Uint32())
			}
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, level := range []Level{None, Fastest, Better} {
		var whole bytes.Buffer
		sum, err := Create(t.Context(), dir, &whole, Options{Level: level})
		if err != nil {
			t.Fatal(err)
		}
		for _, most := range []int{1, 7, 4096, 1 << 20} {
			var passed, index bytes.Buffer
			tap := NewTap(&passed, &index)
			for rest := whole.Bytes(); len(rest) > 0; {
				n, err := tap.Write(rest[:min(len(rest), 1+random.IntN(most))])
				if err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			if !bytes.Equal(passed.Bytes(), whole.Bytes()) || !bytes.Equal(index.Bytes(), whole.Bytes()[tap.Data():]) {
				t.Fatalf("%v, pieces of up to %d: %d bytes of an index after %d of data, of %d in all", level, most, index.Len(), tap.Data(), whole.Len())
			}
			from, err := Open(t.Context(), IndexSource(bytes.NewReader(index.Bytes()), tap.Data()), sum.Stored, ReaderOptions{})
			if err != nil {
				t.Fatal(err)
			}
			entries := 0
			for _, err := range from.Entries(t.Context(), ".") {
				if err != nil {
					t.Fatal(err)
				}
				entries++
			}
			if from.Close(); entries != 41 || from.Contents().Directory != sum.Directory {
				t.Errorf("%v: %d entries", level, entries)
			}
		}
	}
}
