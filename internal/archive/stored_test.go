package archive

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
)

func TestWhatIsStoredIsWrittenAsItIsAndNoDamageWithIt(t *testing.T) {
	dir, random := t.TempDir(), rand.NewChaCha8([32]byte{7})
	data := make([]byte, 2*frameSize)
	random.Read(data)
	write(t, dir, map[string]string{"a/1": "one", "large": string(data), "z": "last"})
	whole, _ := archived(t, dir, Options{Level: Fastest})
	var out bytes.Buffer
	must(t, reader(t, whole).WriteStored(t.Context(), &out))
	if !bytes.Equal(out.Bytes(), whole) {
		t.Fatalf("%d bytes, which are not the %d that are stored", out.Len(), len(whole))
	}

	r := reader(t, whole)
	places := []int{0, frameSize, int(r.own.trailer.index) - 1, int(r.own.directory.Blocks[0].place), int(r.own.trailer.directory) - 1}
	for range 20 {
		places = append(places, rand.IntN(int(r.own.trailer.directory)))
	}
	for _, place := range places {
		bad := bytes.Clone(whole)
		bad[place] ^= 1
		out.Reset()
		err := reader(t, bad).WriteStored(t.Context(), &out)
		if !errors.Is(err, ErrDamaged) || !bytes.HasPrefix(whole, out.Bytes()) || out.Len() > place {
			t.Errorf("a bit flipped at %d of %d: %d bytes were written (%v)", place, len(whole), out.Len(), err)
		}
	}
}
