package s3

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/backupd/backupd/internal/targets"
	"github.com/backupd/backupd/internal/targets/s3/s3test"
	"github.com/backupd/backupd/internal/targets/targetstest"
)

// policies are those that docs/s3.md shows: the fewest rights, and what may be added.
func policies(t *testing.T) (fewest, tidy, locks string) {
	t.Helper()
	page, err := os.ReadFile("../../../docs/s3.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?s)```json\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	if len(found) != 3 {
		t.Fatalf("docs/s3.md shows %d policies, want 3", len(found))
	}
	return found[0][1], found[1][1], found[2][1]
}

// adding puts a statement into a policy.
func adding(t *testing.T, policy, statement string) string {
	t.Helper()
	var p struct {
		Version   string
		Statement []json.RawMessage
	}
	if err := json.Unmarshal([]byte(policy), &p); err != nil {
		t.Fatal(err)
	}
	p.Statement = append(p.Statement, json.RawMessage(statement))
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// guest gives a store that may do in its bucket, which owner made, what the policy says.
func guest(t *testing.T, owner *Store, server *s3test.Server, parameters, policy string) *Store {
	t.Helper()
	_, err := owner.client.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: &owner.at.bucket, Policy: &policy})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", s3test.Guest)
	u := server.URL(owner.at.bucket)
	u.RawQuery += parameters
	return openAt(t, u)
}

// TestTheFewestRights uses a bucket as backupd does, by the policies that are documented.
func TestTheFewestRights(t *testing.T) {
	fewest, tidy, _ := policies(t)
	server := s3test.Start(t)
	server.Bucket("bucket")
	owner := openAt(t, server.URL("bucket"))
	s := guest(t, owner, server, "", fewest)
	if err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
	for key, size := range map[string]int{"small": 10, "large": targetstest.Large} {
		if err := s.Put(t.Context(), key, bytes.NewReader(targetstest.Random(size))); err != nil {
			t.Error(err)
		}
		if got, err := targetstest.Read(t, s, key); err != nil || !bytes.Equal(got, targetstest.Random(size)) {
			t.Errorf("get %s: %d bytes, %v", key, len(got), err)
		}
	}
	begin(t, s, "killed")
	if n, err := s.Abandon(t.Context(), "", func(string) bool { return true }); n != 1 || err != nil {
		t.Errorf("gave up %d uploads, %v, want 1", n, err)
	}
	if err := s.Delete(t.Context(), "small"); !errors.As(err, new(targets.Kept)) || !strings.Contains(err.Error(), "s3:DeleteObject") {
		t.Errorf("delete: %v, want that it is kept, and what that needs", err)
	}
	s = guest(t, owner, server, "", adding(t, fewest, tidy))
	if err := s.Delete(t.Context(), "small"); err != nil {
		t.Error(err)
	}
}

func TestTheFewestRightsWithLocks(t *testing.T) {
	fewest, _, locks := policies(t)
	server := s3test.Start(t)
	owner := lockable(t, server, "bucket", "")
	s := guest(t, owner, server, "&lock=governance&lock-days=1", adding(t, fewest, locks))
	if err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
	for key, size := range map[string]int{"small": 10, "large": targetstest.Large} {
		if err := s.Put(t.Context(), key, bytes.NewReader(targetstest.Random(size))); err != nil {
			t.Error(err)
		}
		if err := s.Delete(t.Context(), key); !errors.As(err, new(targets.Kept)) || !strings.Contains(err.Error(), "locked until") {
			t.Errorf("delete %s: %v, want that it is locked", key, err)
		}
	}
	if err := s.Put(t.Context(), "pin", targets.Mark{Reader: strings.NewReader("")}); err != nil {
		t.Error(err)
	}
	if err := s.Delete(t.Context(), "pin"); err != nil {
		t.Error(err)
	}
}

// TestAMissingRightIsNamed takes each away from the policy in turn.
func TestAMissingRightIsNamed(t *testing.T) {
	fewest, _, _ := policies(t)
	server := s3test.Start(t)
	server.Bucket("bucket")
	owner := openAt(t, server.URL("bucket"))
	for right, do := range map[string]func(s *Store) error{
		"s3:ListBucket": func(s *Store) error { return s.Check(t.Context()) },
		"s3:GetObject":  func(s *Store) error { return s.Put(t.Context(), "get", strings.NewReader("x")) },
		"s3:PutObject":  func(s *Store) error { return s.Put(t.Context(), "put", strings.NewReader("x")) },
		"s3:ListBucketMultipartUploads": func(s *Store) error {
			_, err := s.Abandon(t.Context(), "", func(string) bool { return true })
			return err
		},
		"s3:AbortMultipartUpload": func(s *Store) error {
			begin(t, s, "killed")
			_, err := s.Abandon(t.Context(), "", func(string) bool { return true })
			return err
		},
	} {
		t.Run(right, func(t *testing.T) {
			instead := "s3:GetObjectAcl" // as a statement needs one that goes with its resource
			if strings.Contains(right, "Bucket") {
				instead = "s3:GetBucketAcl"
			}
			s := guest(t, owner, server, "", strings.Replace(fewest, `"`+right+`"`, `"`+instead+`"`, 1))
			if err := do(s); err == nil || !strings.Contains(err.Error(), "the access key needs "+right) {
				t.Errorf("%v, want it to name %s", err, right)
			}
		})
	}
}

func TestRefusalsInPlainWords(t *testing.T) {
	server := s3test.Start(t)
	elsewhere := func(_ http.Handler, w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Amz-Bucket-Region", "eu-west-1")
		s3test.Refuse(http.StatusMovedPermanently, "PermanentRedirect")(nil, w, r)
	}
	for want, c := range map[string]struct {
		parameters string
		rule       rule
	}{
		"set region=eu-west-1":                           {"", rule{"put", always, elsewhere}},
		"the clock of this machine":                      {"", rule{"put", always, s3test.Refuse(403, "RequestTimeTooSkewed")}},
		"correct storage-class=":                         {"&storage-class=COLD", rule{"put", always, s3test.Refuse(400, "InvalidStorageClass")}},
		"check the key of kms-key=":                      {"&sse=aws:kms&kms-key=k", rule{"put", always, s3test.Refuse(400, "KMS.NotFoundException")}},
		"s3:PutObject, kms:GenerateDataKey, kms:Decrypt": {"&sse=aws:kms", rule{"put", always, s3test.Refuse(403, "AccessDenied")}},
		"s3:PutObject, s3:PutObjectRetention":            {"&lock=governance&lock-days=1", rule{"put", always, s3test.Refuse(403, "AccessDenied")}},
		"try checksum=md5":                               {"", rule{"put", always, s3test.Refuse(501, "NotImplemented")}},
		"a bucket that was made with object lock":        {"&lock=governance&lock-days=1", rule{"put", always, s3test.Refuse(400, "InvalidRequest")}},
		"SlowDown: as the test wants":                    {"", rule{"put", always, s3test.Refuse(503, "SlowDown")}},
		"the temporary credentials have ended: get new":  {"", rule{"put", always, s3test.Refuse(400, "ExpiredToken")}},
	} {
		s, _ := throughWith(t, server, c.parameters, c.rule)
		if err := s.Put(t.Context(), "key", strings.NewReader("x")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want it to speak of %q", err, want)
		}
	}
}
