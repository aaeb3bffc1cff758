package seal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"filippo.io/age"
	"pgregory.net/rapid"

	"github.com/backupd/backupd/internal/seal"
)

// pair is a key that was made for a test.
func pair(t testing.TB) (public, private string) {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return id.Recipient().String(), id.String()
}

func recipients(t testing.TB, text string) (r seal.Recipients) {
	t.Helper()
	if err := r.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return r
}

// keysIn makes a file of keys.
func keysIn(t testing.TB, lines ...string) *seal.Keys {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return seal.KeysIn(path, silent(t))
}

// silent fails a test in which somebody is asked for a passphrase.
func silent(t testing.TB) seal.Ask {
	return func(string) ([]byte, error) {
		t.Error("a passphrase was asked for")
		return nil, nil
	}
}

func sealed(t testing.TB, r seal.Recipients, plain []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := r.Writer(&out)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if size, _ := w.Written(); size != int64(out.Len()) {
		t.Errorf("%d bytes were written, and it says %d", out.Len(), size)
	}
	return out.Bytes()
}

// object is something stored, that counts what is asked of it.
type object struct {
	stored []byte
	err    error

	mu       sync.Mutex
	requests int
	bytes    int64
}

func (o *object) source(_ context.Context, off, n int64) (io.ReadCloser, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.requests++
	o.bytes += n
	if o.err != nil {
		return nil, o.err
	}
	from := min(off, int64(len(o.stored)))
	return io.NopCloser(bytes.NewReader(o.stored[from:min(off+n, int64(len(o.stored)))])), nil
}

func open(t testing.TB, o *object, keys *seal.Keys) *seal.Object {
	t.Helper()
	opened, err := seal.Open(t.Context(), o.source, int64(len(o.stored)), keys)
	if err != nil {
		t.Fatal(err)
	}
	return opened
}

func part(t testing.TB, o *seal.Object, off, n int64) []byte {
	t.Helper()
	from, err := o.Range(t.Context(), off, n)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(from)
	if err := errors.Join(err, from.Close()); err != nil {
		t.Fatal(err)
	}
	return got
}

func random(n int) []byte {
	p := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(p)
	return p
}

const piece = 64 << 10

func TestAnyPartIsRead(t *testing.T) {
	public, private := pair(t)
	to, keys := recipients(t, public), keysIn(t, private)
	for _, size := range []int{0, 1, piece - 1, piece, piece + 1, 4*piece - 1, 5 * piece, 20*piece + 7} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			plain := random(size)
			store := &object{stored: sealed(t, to, plain)}
			o := open(t, store, keys)
			if o.Size() != int64(size) {
				t.Fatalf("its size is %d", o.Size())
			}
			rapid.Check(t, func(rt *rapid.T) {
				off := rapid.IntRange(0, size).Draw(rt, "off")
				n := rapid.IntRange(0, size-off).Draw(rt, "n")
				before := store.requests
				if got := part(t, o, int64(off), int64(n)); !bytes.Equal(got, plain[off:off+n]) {
					rt.Errorf("got %d bytes that differ", len(got))
				}
				if store.requests > before+1 {
					rt.Errorf("that took %d requests", store.requests-before)
				}
			})
		})
	}
}

func TestARangeTakesOneRequestAndFewBytes(t *testing.T) {
	public, private := pair(t)
	plain := random(100 * piece)
	store := &object{stored: sealed(t, recipients(t, public), plain)}
	o := open(t, store, keysIn(t, private))
	if store.requests != 2 {
		t.Errorf("to open it took %d requests", store.requests)
	}
	tests := map[string]struct {
		off, n   int64
		requests int
		most     int64
	}{
		"inside of a piece":  {7*piece + 5, 100, 1, piece + 100},
		"over two":           {8*piece - 5, 10, 1, 2 * (piece + 100)},
		"thirty of them":     {10 * piece, 30 * piece, 1, 31 * piece},
		"the very end":       {100*piece - 100, 100, 0, 0},
		"the last two":       {98 * piece, 2 * piece, 0, 0},
		"all of it":          {0, 100 * piece, 1, 101 * piece},
		"more than there is": {99 * piece, 1 << 40, 0, 0},
	}
	for name, tt := range tests {
		store.requests, store.bytes = 0, 0
		got := part(t, o, tt.off, tt.n)
		if end := min(tt.off+tt.n, int64(len(plain))); !bytes.Equal(got, plain[tt.off:end]) {
			t.Errorf("%s: it differs", name)
		}
		if store.requests != tt.requests || store.bytes > tt.most {
			t.Errorf("%s: it took %d requests and %d bytes, want %d and at most %d", name, store.requests, store.bytes, tt.requests, tt.most)
		}
	}
}

// What is damaged is not passed on: zeros stand for it, and all else is there.
func TestOnlyWhatIsDamagedIsLost(t *testing.T) {
	public, private := pair(t)
	plain := bytes.Repeat([]byte{1}, 20*piece)
	store := &object{stored: sealed(t, recipients(t, public), plain)}
	o := open(t, store, keysIn(t, private))
	store.stored[3*piece] ^= 1
	got := part(t, o, 0, o.Size())
	at := bytes.IndexByte(got, 0)
	if lost := bytes.Count(got, []byte{0}); lost != piece || at%piece != 0 || at/piece != 2 {
		t.Errorf("%d bytes are lost, from %d on", lost, at)
	}
	if len(got) != len(plain) {
		t.Errorf("there are %d bytes", len(got))
	}
	from, err := seal.Stream(bytes.NewReader(store.stored), keysIn(t, private))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(from); len(got) != at || !errors.Is(err, seal.ErrDamaged) {
		t.Errorf("as a stream it gives %d bytes and %v", len(got), err)
	}
}

func TestWhyItCannotBeOpened(t *testing.T) {
	public, private := pair(t)
	_, other := pair(t)
	stored := sealed(t, recipients(t, public), random(10*piece))
	right := keysIn(t, private)
	broken := errors.New("the disk is on fire")
	change := func(at int) []byte {
		p := bytes.Clone(stored)
		p[at] ^= 1
		return p
	}
	secretLine := "AGE-SECRET-KEY-1" + strings.Repeat("Q", 40)
	tests := map[string]struct {
		store  *object
		keys   *seal.Keys
		is     error
		phrase string
	}{
		"no key":                {&object{stored: stored}, nil, seal.ErrLocked, "no key is set: set BACKUPD_AGE_IDENTITY to the path of a file"},
		"another key":           {&object{stored: stored}, keysIn(t, other), seal.ErrLocked, "to other keys than those in BACKUPD_AGE_IDENTITY"},
		"a file that is gone":   {&object{stored: stored}, seal.KeysIn("/nowhere/keys", silent(t)), seal.ErrLocked, "BACKUPD_AGE_IDENTITY: open /nowhere/keys: no such file"},
		"an empty file":         {&object{stored: stored}, keysIn(t, "# created"), seal.ErrLocked, "there is no key in it"},
		"a key that is cut off": {&object{stored: stored}, keysIn(t, "", secretLine), seal.ErrLocked, "line 2 is no private key of age"},
		"a header that differs": {&object{stored: change(60)}, right, nil, ""},
		"a last piece likewise": {&object{stored: change(len(stored) - 1)}, right, seal.ErrDamaged, "final chunk"},
		"something else":        {&object{stored: random(1000)}, right, seal.ErrDamaged, "header"},
		"nothing":               {&object{}, right, seal.ErrDamaged, ""},
		"a store that fails":    {&object{stored: stored, err: broken}, right, broken, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := seal.Open(t.Context(), tt.store.source, int64(len(tt.store.stored)), tt.keys)
			check := func(err error) {
				if err == nil || tt.is != nil && !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.phrase) {
					t.Errorf("error is %v, want %v with %q", err, tt.is, tt.phrase)
				} else if strings.Contains(err.Error(), "SECRET-KEY-1Q") {
					t.Errorf("the key is in %v", err)
				}
			}
			check(err)
			if tt.store.err == nil && tt.is == seal.ErrLocked {
				_, err := seal.Stream(bytes.NewReader(tt.store.stored), tt.keys)
				check(err)
			}
		})
	}
}

func TestAnObjectThatIsCutOffIsDamaged(t *testing.T) {
	public, private := pair(t)
	stored := sealed(t, recipients(t, public), random(10*piece))
	keys := keysIn(t, private)
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(0, len(stored)-1).Draw(rt, "length")
		store := &object{stored: stored[:n]}
		if _, err := seal.Open(t.Context(), store.source, int64(len(stored)), keys); !errors.Is(err, seal.ErrDamaged) {
			rt.Errorf("where %d bytes should be, the error is %v", len(stored), err)
		}
		if _, err := seal.Open(t.Context(), store.source, int64(n), keys); !errors.Is(err, seal.ErrDamaged) {
			rt.Errorf("where %d bytes should be, the error is %v", n, err)
		}
		from, err := seal.Stream(bytes.NewReader(store.stored), keys)
		if err == nil {
			_, err = io.Copy(io.Discard, from)
		}
		if !errors.Is(err, seal.ErrDamaged) {
			rt.Errorf("as a stream, the error is %v", err)
		}
	})
}

// The store goes away, or the object, once it has been opened.
func TestTroubleOfTheSourceIsNoDamage(t *testing.T) {
	public, private := pair(t)
	store := &object{stored: sealed(t, recipients(t, public), random(20*piece))}
	o := open(t, store, keysIn(t, private))
	store.err = errors.New("the disk is on fire")
	from, err := o.Range(t.Context(), 0, 10*piece)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(from); err != store.err {
		t.Errorf("error is %v", err)
	}
	half := breaking{io.LimitReader(bytes.NewReader(store.stored), 5*piece), store.err}
	plain, err := seal.Stream(half, keysIn(t, private))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(plain); err != store.err {
		t.Errorf("as a stream, the error is %v", err)
	}
}

// breaking ends with an error.
type breaking struct {
	io.Reader
	err error
}

func (i breaking) Read(p []byte) (int, error) {
	n, err := i.Reader.Read(p)
	if err == io.EOF {
		err = i.err
	}
	return n, err
}
