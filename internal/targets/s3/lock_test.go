package s3

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/backupd/backupd/internal/targets"
	"github.com/backupd/backupd/internal/targets/s3/s3test"
	"github.com/backupd/backupd/internal/targets/targetstest"
)

// lockable gives a store with a bucket that can lock objects.
func lockable(t *testing.T, server *s3test.Server, bucket, parameters string) *Store {
	t.Helper()
	u := server.LockingBucket(bucket)
	u.RawQuery += parameters
	return openAt(t, u)
}

// versions counts what a bucket still has, hidden or not.
func versions(t *testing.T, s *Store) int {
	t.Helper()
	out, err := s.client.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: &s.at.bucket})
	if err != nil {
		t.Fatal(err)
	}
	return len(out.Versions) + len(out.DeleteMarkers)
}

func TestLockedObjectsAreKept(t *testing.T) {
	server := s3test.Start(t)
	for mode, size := range map[string]int{"governance": 10, "compliance": targetstest.Large} {
		s := lockable(t, server, mode, "&lock-days=30&lock="+mode)
		if err := s.Check(t.Context()); err != nil {
			t.Error(err)
		}
		if err := s.Put(t.Context(), "key", bytes.NewReader(targetstest.Random(size))); err != nil {
			t.Fatal(err)
		}
		until := time.Now().AddDate(0, 0, 30).UTC()
		if err := s.Kept(t.Context(), "key"); !errors.As(err, new(targets.Kept)) || !strings.Contains(err.Error(), until.Format("2006-01-02")) {
			t.Errorf("kept: %v, want until %s", err, until)
		}
		if err := s.Kept(t.Context(), "nothing"); err != nil {
			t.Errorf("what is not there: %v", err)
		}
		err := s.Delete(t.Context(), "key")
		if !errors.As(err, new(targets.Kept)) || !strings.Contains(err.Error(), "kept: locked until "+until.Format("2006-01-02")) || !strings.Contains(err.Error(), mode) {
			t.Errorf("delete: %v, want that it is kept until %s", err, until)
		}
		// The server agrees when it is asked for the very version, by somebody whose clock is a month ahead.
		s.now = func() time.Time { return until.Add(time.Hour) }
		if err := s.Delete(t.Context(), "key"); !errors.As(err, new(targets.Kept)) {
			t.Errorf("delete: %v, want it to be kept", err)
		}
		if got, err := targetstest.Read(t, s, "key"); err != nil || !bytes.Equal(got, targetstest.Random(size)) {
			t.Errorf("get: %d bytes, %v, want what was put", len(got), err)
		}
	}
}

func TestNothingIsLeftOnceALockHasEnded(t *testing.T) {
	s := lockable(t, s3test.Start(t), "ending", "&lock-days=1&lock=governance")
	if err := s.Put(t.Context(), "key", strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	_, err := s.client.PutObjectRetention(t.Context(), &s3.PutObjectRetentionInput{
		Bucket: &s.at.bucket, Key: s.key("key"), BypassGovernanceRetention: aws.Bool(true),
		Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionModeGovernance, RetainUntilDate: aws.Time(time.Now().Add(2 * time.Second))},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for err = (targets.Kept{}); errors.As(err, new(targets.Kept)); {
		err = s.Delete(ctx, "key")
	}
	if err != nil {
		t.Error(err)
	}
	if n := versions(t, s); n != 0 {
		t.Errorf("%d versions are left", n)
	}
}

// Marks, such as pins, are to be taken back at any time.
func TestMarksAreNotLocked(t *testing.T) {
	s := lockable(t, s3test.Start(t), "marks", "&lock-days=1&lock=compliance")
	for key, text := range map[string]string{"pin": "", "drill": "{}"} {
		if err := s.Put(t.Context(), key, targets.Mark{Reader: strings.NewReader(text)}); err != nil {
			t.Fatal(err)
		}
		if err := s.Delete(t.Context(), key); err != nil {
			t.Error(err)
		}
	}
	if n := versions(t, s); n != 0 {
		t.Errorf("%d versions are left", n)
	}
}

// Where nobody has asked for locks, versions are kept for another reason, and stay.
func TestVersionsOfOthersStay(t *testing.T) {
	s := lockable(t, s3test.Start(t), "versioned", "")
	if err := s.Put(t.Context(), "key", strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), "key"); err != nil {
		t.Error(err)
	}
	if n := versions(t, s); n != 2 {
		t.Errorf("%d versions are there, want the object and the mark that it is deleted", n)
	}
	if _, err := targetstest.Read(t, s, "key"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("get: %v", err)
	}
}

func TestBucketWithoutLocks(t *testing.T) {
	server := s3test.Start(t)
	u := server.Bucket("plain")
	u.RawQuery += "&lock=governance&lock-days=1"
	s := openAt(t, u)
	for what, err := range map[string]error{"check": s.Check(t.Context()), "put": s.Put(t.Context(), "key", strings.NewReader("x"))} {
		if err == nil || !strings.Contains(err.Error(), "needs a bucket that was made with object lock") {
			t.Errorf("%s: %v, want it to say what is needed", what, err)
		}
	}
}

// A key that may only add is a good one to have.
func TestKeyThatMayNotDelete(t *testing.T) {
	server := s3test.Start(t)
	s, _ := through(t, server, rule{"delete", always, s3test.Refuse(http.StatusForbidden, "AccessDenied")})
	if err := s.Put(t.Context(), "key", strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), "key"); !errors.As(err, new(targets.Kept)) || !strings.Contains(err.Error(), "s3:DeleteObject") {
		t.Errorf("delete: %v, want it to be kept, and which permission it would take", err)
	}
}

// TestSettingsAreSent looks at the requests, as the server of the tests knows neither classes nor encryption.
func TestSettingsAreSent(t *testing.T) {
	server := s3test.Start(t)
	var sent []http.Header
	note := func(pass http.Handler, w http.ResponseWriter, r *http.Request) {
		sent = append(sent, r.Header.Clone())
		pass.ServeHTTP(w, r)
	}
	encrypted := func(pass http.Handler, w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Amz-Server-Side-Encryption", "aws:kms")
		pass.ServeHTTP(w, r)
	}
	s, _ := throughWith(t, server, "&storage-class=STANDARD_IA&sse=aws:kms&kms-key=alias/b",
		rule{"put", 1, note}, rule{"create", 1, note}, rule{"head", always, encrypted})
	for key, size := range map[string]int{"small": 10, "large": targetstest.Large} {
		if err := s.Put(t.Context(), key, bytes.NewReader(targetstest.Random(size))); err != nil {
			t.Error(err)
		}
	}
	for _, h := range sent {
		for name, want := range map[string]string{
			"X-Amz-Storage-Class": "STANDARD_IA", "X-Amz-Server-Side-Encryption": "aws:kms", "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id": "alias/b",
		} {
			if got := h.Get(name); got != want {
				t.Errorf("%s is sent as %q, want %q", name, got, want)
			}
		}
	}
	if len(sent) != 2 {
		t.Errorf("%d objects were begun, want 2", len(sent))
	}
}

func TestServerThatDoesNotEncrypt(t *testing.T) {
	u := s3test.Start(t).Bucket("plain")
	u.RawQuery += "&sse=AES256"
	s := openAt(t, u)
	if err := s.Put(t.Context(), "key", strings.NewReader("x")); err == nil || !strings.Contains(err.Error(), "without sse=AES256") {
		t.Errorf("put: %v, want it to say that it is not encrypted", err)
	}
	if _, err := targetstest.Read(t, s, "key"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("get: %v, want fs.ErrNotExist", err)
	}
}
