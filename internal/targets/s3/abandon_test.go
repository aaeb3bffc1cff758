package s3

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/backupd/backupd/internal/targets"
	"github.com/backupd/backupd/internal/targets/s3/s3test"
	"github.com/backupd/backupd/internal/targets/targetstest"
)

// begin leaves an upload with one part, as somebody who is killed does.
func begin(t *testing.T, s *Store, key string) {
	t.Helper()
	u := s.newUpload(key, nil)
	out, err := s.client.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: &s.at.bucket, Key: s.key(key)})
	if err != nil {
		t.Fatal(err)
	}
	u.id = out.UploadId
	if err := u.send(t.Context(), &part{number: 1}, inMemory(s, targetstest.Random(1000))); err != nil {
		t.Fatal(err)
	}
}

// begun are the keys that have uploads, anywhere in the bucket.
func begun(t *testing.T, s *Store) (keys []string) {
	t.Helper()
	out, err := s.client.ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: &s.at.bucket})
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range out.Uploads {
		keys = append(keys, aws.ToString(u.Key))
	}
	return keys
}

func TestAbandonGivesUpItsOwnAlone(t *testing.T) {
	server := s3test.Start(t)
	server.Bucket("bucket")
	s := openAt(t, server.URL("bucket"))
	for _, key := range []string{"web1/app/1.tar", "web1/app/1.tar", "web1/app/2.tar", "web1/app/video.mp4", "web1/app2/1.tar", "web2/app/1.tar"} {
		begin(t, s, key)
	}
	if err := s.Put(t.Context(), "web1/app/3.tar", bytes.NewReader(targetstest.Random(1000))); err != nil {
		t.Fatal(err)
	}
	mine := func(key string) bool { return strings.HasSuffix(key, ".tar") }
	for _, want := range []int{3, 0} {
		if n, err := s.Abandon(t.Context(), "web1/app/", mine); n != want || err != nil {
			t.Errorf("gave up %d uploads, %v, want %d", n, err, want)
		}
	}
	left := []string{"prefix/web1/app/video.mp4", "prefix/web1/app2/1.tar", "prefix/web2/app/1.tar"}
	if got := begun(t, s); !slices.Equal(got, left) {
		t.Errorf("there are uploads of %q, want %q", got, left)
	}
	if got, err := targetstest.Read(t, s, "web1/app/3.tar"); err != nil || len(got) != 1000 {
		t.Errorf("get what was put meanwhile: %d bytes, %v", len(got), err)
	}
}

func TestAbandonWhereItCannotLook(t *testing.T) {
	server := s3test.Start(t)
	all := func(string) bool { return true }
	s, _ := through(t, server, rule{"uploads", always, s3test.Refuse(http.StatusForbidden, "AccessDenied")})
	if _, err := s.Abandon(t.Context(), "", all); !errors.As(err, new(targets.Kept)) || !strings.Contains(err.Error(), "s3:ListBucketMultipartUploads") {
		t.Errorf("not permitted: %v, want it to say so", err)
	}
	s, _ = through(t, server, rule{"uploads", always, s3test.Refuse(http.StatusNotImplemented, "NotImplemented")})
	if n, err := s.Abandon(t.Context(), "", all); n != 0 || err != nil {
		t.Errorf("not known to the server: %d, %v", n, err)
	}
	s, _ = through(t, server, rule{"uploads", always, s3test.Say(nil, "<ListMultipartUploadsResult><Upload><Key>other/key</Key></Upload></ListMultipartUploadsResult>")})
	if _, err := s.Abandon(t.Context(), "", all); err == nil || !strings.Contains(err.Error(), "not asked for") {
		t.Errorf("a listing of others: %v", err)
	}
	endless := "<ListMultipartUploadsResult><IsTruncated>true</IsTruncated><NextKeyMarker>k</NextKeyMarker><NextUploadIdMarker>i</NextUploadIdMarker></ListMultipartUploadsResult>"
	s, _ = through(t, server, rule{"uploads", always, s3test.Say(nil, endless)})
	if n, err := s.Abandon(t.Context(), "", all); n != 0 || err != nil {
		t.Errorf("a listing without an end: %d, %v", n, err)
	}
}

func TestAnUploadThatStaysIsAnError(t *testing.T) {
	server := s3test.Start(t)
	s, _ := through(t, server, rule{"abort", 1, s3test.Refuse(http.StatusForbidden, "AccessDenied")})
	begin(t, s, "key")
	all := func(string) bool { return true }
	if n, err := s.Abandon(t.Context(), "", all); n != 0 || err == nil || !strings.Contains(err.Error(), "s3:AbortMultipartUpload") {
		t.Errorf("gave up %d, %v, want which permission is missing", n, err)
	}
	if n, err := s.Abandon(context.WithoutCancel(t.Context()), "", all); n != 1 || err != nil {
		t.Errorf("then gave up %d, %v", n, err)
	}
}
