package rclone

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/backupd/backupd/internal/targets"
	"github.com/backupd/backupd/internal/targets/s3/s3test"
	"github.com/backupd/backupd/internal/targets/targetstest"
	"github.com/backupd/backupd/internal/testenv"
)

// configure gives rclone the remotes of these tests, and none of the machine's: a disk, and what has no files at all.
func configure(t *testing.T) {
	t.Helper()
	testenv.Tool(t, "rclone")
	t.Setenv("RCLONE_CONFIG", os.DevNull)
	t.Setenv("RCLONE_CONFIG_NAS_TYPE", "local")
}

func openAt(t *testing.T, path string) *Store {
	t.Helper()
	s, err := Open(&url.URL{Scheme: "rclone", Opaque: url.PathEscape("nas:" + path)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStoreOnADisk(t *testing.T) {
	configure(t)
	targetstest.Run(t, func(t *testing.T) targets.Store {
		dir := t.TempDir()
		t.Cleanup(func() { wantNoPartials(t, dir) })
		return openAt(t, dir)
	}, targetstest.ManyObjects)
}

func TestAListingOfManyFiles(t *testing.T) {
	configure(t)
	dir := t.TempDir()
	var want []string
	for i := range 3000 {
		key := fmt.Sprintf("host/volume-%d/%d.json", i%50, i)
		write(t, filepath.Join(dir, key), "x")
		want = append(want, key)
	}
	slices.Sort(want)
	if got := list(t, openAt(t, dir), "host/"); !slices.Equal(got, want) {
		t.Errorf("listed %d keys other than the %d that there are", len(got), len(want))
	}
}

// TestStoreInABucket is about a remote where moving is a copy and a removal, and folders do not exist.
func TestStoreInABucket(t *testing.T) {
	configure(t)
	server := s3test.Start(t)
	for name, value := range map[string]string{
		"TYPE": "s3", "PROVIDER": "Other", "ENDPOINT": server.Endpoint, "ACCESS_KEY_ID": s3test.AccessKey, "SECRET_ACCESS_KEY": s3test.SecretKey,
		"NO_CHECK_BUCKET": "true", // else it would be made, before each put
	} {
		t.Setenv("RCLONE_CONFIG_NAS_"+name, value)
	}
	var n atomic.Int32
	targetstest.Run(t, func(t *testing.T) targets.Store {
		bucket := fmt.Sprintf("bucket-%d", n.Add(1))
		server.Bucket(bucket)
		t.Cleanup(func() { wantNoPartials(t, filepath.Join(server.Dir, bucket, "prefix")) })
		return openAt(t, bucket+"/prefix")
	}, targetstest.ManyObjects)
}

func write(t *testing.T, path, content string) {
	t.Helper()
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err := errors.Join(err, os.WriteFile(path, []byte(content), 0o644)); err != nil {
		t.Fatal(err)
	}
}

func list(t *testing.T, s *Store, prefix string) (keys []string) {
	t.Helper()
	for o, err := range s.List(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, o.Key)
	}
	return keys
}

func wantNoPartials(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(filepath.Join(dir, targets.Partials))
	if err != nil && !os.IsNotExist(err) {
		t.Error(err)
	}
	for _, e := range left {
		t.Errorf("left of a put: %s", e.Name())
	}
}
