package s3

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/backupd/backupd/internal/targets/s3/s3test"
	"github.com/backupd/backupd/internal/targets/targetstest"
)

const always = s3test.Always

// TestWhatPassesByItself puts a small and a large object while each kind of request fails, and wants them to arrive.
func TestWhatPassesByItself(t *testing.T) {
	server := s3test.Start(t)
	busy := s3test.Refuse(http.StatusServiceUnavailable, "SlowDown")
	for name, rules := range map[string][]rule{
		"throttled": {
			{"put", 2, busy}, {"create", 2, busy}, {"part", 2, busy}, {"complete", 2, busy}, {"get", 2, busy}, {"list", 2, busy}, {"delete", 2, busy},
		},
		"internal errors":    {{"put", 1, s3test.Refuse(500, "InternalError")}, {"part", 3, s3test.Refuse(500, "InternalError")}, {"complete", 1, s3test.Refuse(500, "InternalError")}},
		"answers are lost":   {{"put", 1, s3test.LoseAnswer}, {"part", 1, s3test.LoseAnswer}, {"complete", 1, s3test.LoseAnswer}, {"get", 1, s3test.LoseAnswer}, {"delete", 1, s3test.LoseAnswer}},
		"only a late answer": {{"put", 5, s3test.LoseAnswer}, {"complete", 5, s3test.LoseAnswer}},
		"deleted meanwhile":  {{"put", 1, s3test.Refuse(409, "ConditionalRequestConflict")}, {"complete", 1, s3test.Refuse(409, "ConditionalRequestConflict")}},
		"cut off":            {{"get", 3, s3test.CutOff(100_000)}},
		"cut off at the end": {{"get", 3, s3test.CutOff(targetstest.Large - 1)}},
		"cut off at once":    {{"get", 4, s3test.CutOff(0)}},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := through(t, server, rules...)
			for key, size := range map[string]int{"small": 200_000, "large": targetstest.Large} {
				want := targetstest.Random(size)
				if err := s.Put(t.Context(), key, bytes.NewReader(want)); err != nil {
					t.Errorf("put %s: %v", key, err)
				}
				if got, err := targetstest.Read(t, s, key); err != nil || !bytes.Equal(got, want) {
					t.Errorf("get %s: %d bytes, %v, want the %d that were put", key, len(got), err, size)
				}
			}
			for o, err := range s.List(t.Context(), "") {
				if err != nil {
					t.Fatal(err)
				}
				if err := s.Delete(t.Context(), o.Key); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestWhatDoesNotPass(t *testing.T) {
	server := s3test.Start(t)
	denied := s3test.Refuse(http.StatusForbidden, "AccessDenied")
	for name, rules := range map[string][]rule{
		"no small objects": {{"put", always, denied}, {"create", always, denied}},
		"a part":           {{"put", always, denied}, {"part", 1, denied}},
		"the end":          {{"put", always, denied}, {"complete", always, denied}},
	} {
		t.Run(name, func(t *testing.T) {
			s, f := through(t, server, rules...)
			for _, size := range []int{10, targetstest.Large} {
				err := s.Put(t.Context(), "key", bytes.NewReader(targetstest.Random(size)))
				if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "s3:PutObject") {
					t.Errorf("put %d bytes: %v, want fs.ErrPermission and what is needed", size, err)
				}
			}
			if _, err := targetstest.Read(t, s, "key"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("get: %v, want fs.ErrNotExist", err)
			}
			if f.Count("create") > 0 && f.Count("part") > 0 && f.Count("abort") == 0 {
				t.Error("the upload was not aborted")
			}
		})
	}
}

func TestAnUploadThatCannotBeAbortedIsToldOf(t *testing.T) {
	server := s3test.Start(t)
	s, _ := through(t, server, rule{"complete", always, s3test.Refuse(403, "AccessDenied")}, rule{"abort", 1, s3test.Refuse(400, "Odd")})
	err := s.Put(t.Context(), "key", bytes.NewReader(targetstest.Random(targetstest.Large)))
	if err == nil || !strings.Contains(err.Error(), "abort upload of") {
		t.Errorf("put: %v, want it to tell of the upload", err)
	}
	// Which makes sure, too, that the tests would notice.
	noticed := &recorder{TB: t}
	server.WithT(noticed).WantNoUploads(s.at.bucket)
	if !noticed.failed {
		t.Error("the parts that are left were not noticed")
	}
	if err := os.RemoveAll(filepath.Join(server.Dir, s.at.bucket, ".sgwtmp")); err != nil {
		t.Error(err)
	}
}

type recorder struct {
	testing.TB
	failed bool
}

func (r *recorder) Errorf(string, ...any) { r.failed = true }

func TestServerWithoutConditions(t *testing.T) {
	server := s3test.Start(t)
	refusals := 0
	refuseCondition := func(pass http.Handler, w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-None-Match") != "" {
			refusals++
			s3test.Refuse(http.StatusNotImplemented, "NotImplemented")(pass, w, r)
			return
		}
		pass.ServeHTTP(w, r)
	}
	s, _ := through(t, server, rule{"put", always, refuseCondition}, rule{"complete", always, refuseCondition})
	for _, size := range []int{10, targetstest.Large, 20} {
		key := "key" + string(rune('0'+size%10)) // two keys, one of them twice
		err := s.Put(t.Context(), key, bytes.NewReader(targetstest.Random(size)))
		if want := size == 20; errors.Is(err, fs.ErrExist) != want || err != nil && !want {
			t.Errorf("put %d bytes to %s: %v", size, key, err)
		}
	}
	if got, err := targetstest.Read(t, s, "key0"); err != nil || len(got) != 10 {
		t.Errorf("get: %d bytes, %v, want what was put first", len(got), err)
	}
	if refusals != 1 {
		t.Errorf("the server had to refuse %d times, want once", refusals)
	}
}

func TestServerThatKnowsConditionsAndNotSomethingElse(t *testing.T) {
	server := s3test.Start(t)
	s, _ := through(t, server, rule{"put", 2, s3test.Refuse(http.StatusNotImplemented, "NotImplemented")})
	if err := s.Put(t.Context(), "key", strings.NewReader("x")); err == nil || !strings.Contains(err.Error(), "try checksum=md5") {
		t.Errorf("put: %v, want what may be tried", err)
	}
	if s.unconditional.Load() {
		t.Error("it is taken for a server that knows no conditions")
	}
}

func TestAnObjectIsReadWholeOrNotAtAll(t *testing.T) {
	server := s3test.Start(t)
	content := targetstest.Random(200_000)
	for name, c := range map[string]struct {
		rule rule
		want error // nil for any
	}{
		"always cut off":         {rule{"get", always, s3test.CutOff(0)}, io.ErrUnexpectedEOF},
		"shorter than it says":   {rule{"get", always, s3test.Say(map[string]string{"Content-Length": "200000", "ETag": "x"}, "")}, io.ErrUnexpectedEOF},
		"shorter than its range": {rule{"get", 1, s3test.Say(map[string]string{"Content-Range": "bytes 0-3/200000"}, "0123")}, nil},
		"another range":          {rule{"get", 1, s3test.Say(map[string]string{"Content-Range": "bytes 100000-199999/200000"}, string(content[100_000:]))}, nil},
		"no range":               {rule{"get", 1, s3test.Say(map[string]string{"Content-Range": "bytes x"}, "0123")}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := through(t, server, c.rule)
			if err := s.Put(t.Context(), "key", bytes.NewReader(content)); err != nil {
				t.Fatal(err)
			}
			_, err := targetstest.Read(t, s, "key")
			if err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("read: %v, want an error (%v)", err, c.want)
			}
		})
	}
}

func TestAnObjectThatChangesWhileItIsRead(t *testing.T) {
	server := s3test.Start(t)
	s, _ := through(t, server, rule{"get", 1, s3test.CutOff(1000)})
	if err := s.Put(t.Context(), "key", bytes.NewReader(targetstest.Random(200_000))); err != nil {
		t.Fatal(err)
	}
	r, err := s.Get(t.Context(), "key", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	err = s.Delete(t.Context(), "key")
	if err := errors.Join(err, s.Put(t.Context(), "key", strings.NewReader(strings.Repeat("x", 200_000)))); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err == nil || errors.Is(err, fs.ErrExist) || !bytes.Equal(got, targetstest.Random(200_000)[:len(got)]) {
		t.Errorf("read %d bytes, %v: want an error, and nothing of the second object", len(got), err)
	}
}

func TestHostileListings(t *testing.T) {
	server := s3test.Start(t)
	listing := func(keys ...string) string {
		text := "<ListBucketResult><IsTruncated>false</IsTruncated>"
		for _, key := range keys {
			text += "<Contents><Key>" + key + "</Key><Size>1</Size></Contents>"
		}
		return text + "</ListBucketResult>"
	}
	for name, c := range map[string]struct {
		listing string
		want    []string
		err     string
	}{
		"other people's things":  {listing("prefix/a/", "prefix/a/../../c", "prefix/a//b", "prefix/a/good"), []string{"a/good"}, ""},
		"of another prefix":      {listing("prefix/a/1", "prefixa/2"), []string{"a/1"}, "not asked for"},
		"not sorted":             {listing("prefix/a/2", "prefix/a/1"), []string{"a/2"}, "not sorted"},
		"one again and again":    {listing("prefix/a/1", "prefix/a/1"), []string{"a/1"}, "not sorted"},
		"a page without an end":  {strings.Replace(listing("prefix/a/1"), "false</IsTruncated>", "true</IsTruncated><NextContinuationToken>x</NextContinuationToken>", 1), []string{"a/1"}, "not sorted"},
		"no listing but a novel": {"It was a dark and stormy night", nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := through(t, server, rule{"list", always, s3test.Say(nil, c.listing)})
			var got []string
			var err error
			for o, listErr := range s.List(t.Context(), "a/") {
				if err = listErr; err == nil {
					got = append(got, o.Key)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("listed %q, want %q", got, c.want)
			}
			if c.err == "" && c.want != nil && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("ended with %v, want %q", err, c.err)
			}
		})
	}
}

// What is sent whole when the context ends is not broken off: else Put could say that there is no object, and then there is one.
func TestAContextThatEndsTooLate(t *testing.T) {
	server := s3test.Start(t)
	ctx, cancel := context.WithCancel(t.Context())
	late := func(pass http.Handler, w http.ResponseWriter, r *http.Request) {
		answer := httptest.NewRecorder()
		pass.ServeHTTP(answer, r)
		cancel()
		w.WriteHeader(answer.Code)
	}
	s, _ := through(t, server, rule{"put", 1, late})
	if err := s.Put(ctx, "key", strings.NewReader("content")); err != nil {
		t.Errorf("put: %v", err)
	}
	if got, err := targetstest.Read(t, s, "key"); err != nil || string(got) != "content" {
		t.Errorf("get: %q, %v", got, err)
	}
}
