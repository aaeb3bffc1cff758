package s3

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/backupd/backupd/internal/targets/s3/s3test"
)

func (s *Store) lock(t *testing.T, key string) (types.ObjectLockMode, time.Time) {
	t.Helper()
	there, err := s.client.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &s.at.bucket, Key: s.key(key)})
	if err != nil {
		t.Fatal(err)
	}
	return there.ObjectLockMode, aws.ToTime(there.ObjectLockRetainUntilDate)
}

func TestLocksAreExtendedAndNeverShortened(t *testing.T) {
	server := s3test.Start(t)
	for _, mode := range []string{"governance", "compliance"} {
		s := lockable(t, server, mode, "&lock-days=30&lock="+mode)
		if err := s.Put(t.Context(), "key", strings.NewReader("x")); err != nil {
			t.Fatal(err)
		}
		_, first := s.lock(t, "key")
		s.now = func() time.Time { return time.Now().AddDate(0, 0, 10) }
		if err := s.Extend(t.Context(), "key"); err != nil {
			t.Fatal(err)
		}
		kind, second := s.lock(t, "key")
		if got := second.Sub(first).Round(time.Hour); got != 240*time.Hour || !strings.EqualFold(string(kind), mode) {
			t.Errorf("%s: the lock was extended by %s, and is %s", mode, got, kind)
		}
		s.now = time.Now
		if err := s.Extend(t.Context(), "key"); err != nil {
			t.Error(err)
		}
		if _, third := s.lock(t, "key"); !third.Equal(second) {
			t.Errorf("%s: the lock ends at %s, and was to end at %s", mode, third, second)
		}
		if err := s.Extend(t.Context(), "none"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("one that is not there: %v", err)
		}
	}
}

func TestAStrongerLockStays(t *testing.T) {
	server := s3test.Start(t)
	u := server.LockingBucket("stronger")
	put, extend := *u, *u
	put.RawQuery += "&lock-days=1&lock=compliance"
	extend.RawQuery += "&lock-days=3&lock=governance"
	if err := openAt(t, &put).Put(t.Context(), "key", strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	s := openAt(t, &extend)
	if err := s.Extend(t.Context(), "key"); err != nil {
		t.Fatal(err)
	}
	if mode, until := s.lock(t, "key"); mode != types.ObjectLockModeCompliance || time.Until(until) < 70*time.Hour {
		t.Errorf("it is locked by %s until %s", mode, until)
	}
}

func TestNothingIsLockedWhereNobodyAskedForIt(t *testing.T) {
	s := lockable(t, s3test.Start(t), "unlocked", "")
	if err := s.Put(t.Context(), "key", strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	if err := s.Extend(t.Context(), "key"); err != nil {
		t.Error(err)
	}
	if mode, _ := s.lock(t, "key"); mode != "" {
		t.Errorf("it is locked by %s", mode)
	}
}
