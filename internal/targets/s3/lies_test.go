package s3

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/backupd/backupd/internal/targets/s3/s3test"
	"github.com/backupd/backupd/internal/targets/targetstest"
)

// TestSuccessThatIsNone has a server answer with success to what it has not done.
func TestSuccessThatIsNone(t *testing.T) {
	server := s3test.Start(t)
	// afterwards lets a request take effect, and does something to the object before it is answered.
	afterwards := func(do func(file string)) func(http.Handler, http.ResponseWriter, *http.Request) {
		return func(pass http.Handler, w http.ResponseWriter, r *http.Request) {
			file := filepath.Join(server.Dir, filepath.FromSlash(r.URL.Path))
			answer := httptest.NewRecorder()
			pass.ServeHTTP(answer, r)
			do(file)
			s3test.Replay(w, answer)
		}
	}
	must := func(err error) {
		if err != nil {
			t.Error(err)
		}
	}
	resize := func(by int64) func(string) {
		return func(file string) {
			info, err := os.Stat(file)
			must(err)
			must(os.Truncate(file, info.Size()+by))
		}
	}
	other := func(file string) { must(otherBytes(t, server, file)) }
	lose := func(file string) {
		bucket, key := place(server, file)
		_, err := openAt(t, server.URL(bucket)).client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &bucket, Key: &key})
		must(err)
	}
	for name, c := range map[string]struct {
		parameters string
		do         func(http.Handler, http.ResponseWriter, *http.Request)
		want       string
	}{
		"nothing is stored":         {do: s3test.Nothing, want: "does not have it"},
		"lost at once":              {do: afterwards(lose), want: "does not have it"},
		"cut off":                   {do: afterwards(resize(-1)), want: "bytes of the"},
		"all cut off":               {do: afterwards(func(file string) { must(os.Truncate(file, 0)) }), want: "0 bytes of the"},
		"too long":                  {do: afterwards(resize(1)), want: "bytes of the"},
		"other bytes":               {do: afterwards(other), want: "other bytes"},
		"other bytes, known by md5": {parameters: "&checksum=md5", do: afterwards(other), want: "other bytes"},
		"cut off, by size":          {parameters: "&checksum=none", do: afterwards(resize(-1)), want: "bytes of the"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, size := range []int{200_000, targetstest.Large} {
				s, _ := throughWith(t, server, c.parameters, rule{"put", 1, c.do}, rule{"complete", 1, c.do})
				key := fmt.Sprintf("key-%d", size)
				err := s.Put(t.Context(), key, bytes.NewReader(targetstest.Random(size)))
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("put %d bytes: %v, want it to speak of %q", size, err, c.want)
				}
				if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) {
					t.Errorf("put %d bytes: %v, want an error that is not taken for another", size, err)
				}
				if _, err := targetstest.Read(t, s, key); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("get what was not stored: %v, want fs.ErrNotExist", err)
				}
				// It passes: the next one is believed.
				if err := s.Put(t.Context(), key, bytes.NewReader(targetstest.Random(size))); err != nil {
					t.Errorf("put again: %v", err)
				}
			}
		})
	}
}

// place is where in a server an object lies that is this file.
func place(server *s3test.Server, file string) (bucket, key string) {
	bucket, key, _ = strings.Cut(strings.TrimPrefix(file, server.Dir+"/"), "/")
	return bucket, key
}

// otherBytes replaces an object by one as long, of the same mark, with one bit of it changed.
func otherBytes(t *testing.T, server *s3test.Server, file string) error {
	bucket, key := place(server, file)
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	content[len(content)/2] ^= 1
	client := openAt(t, server.URL(bucket)).client
	there, err := client.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return err
	}
	sum, _ := byCRC.headers(byCRC.sum(content))
	_, err = client.PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: &bucket, Key: &key, Metadata: there.Metadata, Body: bytes.NewReader(content), ContentLength: aws.Int64(int64(len(content))), ChecksumCRC32C: sum,
	})
	return err
}

func TestServerThatTellsNoChecksum(t *testing.T) {
	server := s3test.Start(t)
	odd := false
	mute := func(pass http.Handler, w http.ResponseWriter, r *http.Request) {
		answer := httptest.NewRecorder()
		pass.ServeHTTP(answer, r)
		answer.Header().Del("x-amz-checksum-crc32c")
		if odd {
			answer.Header().Set("ETag", `"CPm0nJ7h5YgDEAE="`)
		}
		s3test.Replay(w, answer)
	}
	for _, c := range []struct {
		parameters string
		odd        bool // no MD5 as ETag either
		want       string
	}{
		{"", false, "checksum=md5"}, {"&checksum=md5", false, ""}, {"&checksum=md5", true, "no md5 checksum of it to tell: set checksum=none"}, {"&checksum=none", true, ""},
	} {
		odd = c.odd
		s, _ := throughWith(t, server, c.parameters, rule{"head", always, mute})
		err := s.Put(t.Context(), "key", strings.NewReader("x"))
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("put with %q: %v, want it to speak of %q", c.parameters, err, c.want)
		}
	}
}

// What cannot be asked for is not there: a manifest that nobody can vouch for would be worse than none.
func TestWhatCannotBeAskedForIsNotStored(t *testing.T) {
	server := s3test.Start(t)
	s, _ := through(t, server, rule{"head", 1, s3test.Refuse(http.StatusForbidden, "AccessDenied")})
	if err := s.Put(t.Context(), "key", strings.NewReader("x")); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("put: %v, want fs.ErrPermission", err)
	}
	if _, err := targetstest.Read(t, s, "key"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("get: %v, want fs.ErrNotExist", err)
	}
}
