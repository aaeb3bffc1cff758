package s3

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/metrics"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/backupd/backupd/internal/spool"
	"github.com/backupd/backupd/internal/targets/s3/s3test"
	"github.com/backupd/backupd/internal/targets/targetstest"
)

// stream is so many bytes that nobody has in memory.
func stream(size int64) io.Reader { return io.LimitReader(rand.NewChaCha8([32]byte{1}), size) }

// heapNow is how many bytes are in use there.
func heapNow() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// watching notes the largest heap while it is written to.
type watching struct {
	io.Writer
	peak uint64
}

func (w *watching) Write(p []byte) (int, error) {
	w.peak = max(w.peak, heapNow())
	return w.Writer.Write(p)
}

// putThrough puts a stream through a spool, and gives the largest heap meanwhile.
func putThrough(t *testing.T, s *Store, ring, size int64, drafted bool) (peak uint64, err error) {
	t.Helper()
	through, err := spool.New(t.TempDir(), ring)
	if err != nil {
		t.Fatal(err)
	}
	defer through.Close()
	if drafted {
		d, err := os.Create(filepath.Join(t.TempDir(), "draft"))
		if err != nil {
			t.Fatal(err)
		}
		through.Through(d)
	}
	from, to := through.Reader("s3"), &watching{Writer: through}
	var g errgroup.Group
	g.Go(func() error {
		_, err := io.Copy(to, stream(size))
		through.End(err)
		if errors.Is(err, spool.ErrNoReader) {
			return nil
		}
		return err
	})
	g.Go(func() error {
		defer from.Close()
		return s.Put(t.Context(), "large", from)
	})
	err = g.Wait()
	return to.peak, err
}

// TestPartsThatDoNotFitInMemory has parts of more than fits there, through spools that keep them, and ones with less room than that.
func TestPartsThatDoNotFitInMemory(t *testing.T) {
	const size = 150 << 20
	server := s3test.Start(t)
	for name, c := range map[string]struct {
		ring       int64
		drafted    bool
		parameters string
		parts      int
	}{
		"equal parts":                     {ring: 200 << 20, parameters: "&part-size=48MiB", parts: 4},
		"a draft":                         {ring: 1 << 20, drafted: true, parameters: "&part-size=48MiB", parts: 4},
		"a ring for one equal part":       {ring: 49 << 20, parameters: "&part-size=48MiB", parts: 4},
		"growing":                         {ring: 100 << 20, parameters: "&max-parts=100", parts: 5},
		"a ring for less than a part":     {ring: 40 << 20, parameters: "&max-parts=100", parts: 6},
		"a ring for next to nothing":      {ring: 1 << 20, parameters: "&max-parts=100", parts: 6},
		"a ring for one of several parts": {ring: 50 << 20, parameters: "&max-parts=100&concurrency=4", parts: 5},
		"known by MD5":                    {ring: 100 << 20, parameters: "&part-size=48MiB&checksum=md5", parts: 4},
	} {
		t.Run(name, func(t *testing.T) {
			s, f := throughWith(t, server, c.parameters)
			before := heapNow()
			peak, err := putThrough(t, s, c.ring, size, c.drafted)
			if err != nil {
				t.Fatal(err)
			}
			if n := f.Count("part"); n < c.parts || n > c.parts+2 {
				t.Errorf("it was put in %d parts, want some %d", n, c.parts)
			}
			if grown := int64(peak) - int64(before); grown > budget+16<<20 {
				t.Errorf("it took %d MiB of memory", grown>>20)
			}
			got, want := sha256.New(), sha256.New()
			r, err := s.Get(t.Context(), "large", 0, -1)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if _, err := io.Copy(got, r); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(want, stream(size)); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
				t.Error("other bytes came back")
			}
		})
	}
}

func TestALackOfRoomForAPartIsTold(t *testing.T) {
	server := s3test.Start(t)
	s, _ := throughWith(t, server, "&part-size=48MiB")
	if _, err := putThrough(t, s, 20<<20, 60<<20, false); err == nil || !strings.Contains(err.Error(), "no room in the spool for a part of 48 MiB: make part-size=") {
		t.Errorf("put: %v, want it to say how to make room", err)
	}
}

func TestAnObjectThatIsTooLongSaysHowItCouldBeLonger(t *testing.T) {
	server := s3test.Start(t)
	for parameters, want := range map[string]string{
		"":               "longer than the 24 MiB that 2 parts have held: set part-size= in the target's URL (parts that come from memory",
		"&checksum=none": "without checksum=none",
	} {
		s, _ := throughWith(t, server, parameters)
		s.at.maxParts = 2
		err := s.Put(t.Context(), "long", bytes.NewReader(targetstest.Random(40<<20)))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("put with %q: %v, want it to speak of %q", parameters, err, want)
		}
	}
}
