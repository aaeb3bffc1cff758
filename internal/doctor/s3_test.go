package doctor_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/backupd/backupd/internal/doctor"
	"github.com/backupd/backupd/internal/targets/s3"
	"github.com/backupd/backupd/internal/targets/s3/s3test"
)

// allow lets the guest do this in the bucket.
func allow(t *testing.T, server *s3test.Server, bucket string, actions ...string) {
	t.Helper()
	owner := awss3.New(awss3.Options{
		BaseEndpoint: &server.Endpoint, Region: "us-east-1", UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(s3test.AccessKey, s3test.SecretKey, ""),
	})
	var statements []string
	for _, action := range actions {
		resource := "arn:aws:s3:::" + bucket
		if !strings.Contains(action, "Bucket") {
			resource += "/prefix/*"
		}
		statements = append(statements, fmt.Sprintf(`{"Effect": "Allow", "Principal": {"AWS": [%q]}, "Action": [%q], "Resource": %q}`, s3test.Guest, action, resource))
	}
	policy := `{"Version": "2012-10-17", "Statement": [` + strings.Join(statements, ", ") + `]}`
	if _, err := owner.PutBucketPolicy(t.Context(), &awss3.PutBucketPolicyInput{Bucket: aws.String(bucket), Policy: &policy}); err != nil {
		t.Fatal(err)
	}
}

func onS3(t *testing.T, u *url.URL) doctor.Check {
	t.Helper()
	store, err := s3.Open(t.Context(), u, s3.Options{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	return doctor.Target(doctor.Place{Name: "off", Host: "web1", Owner: "me", Store: store, Lister: lister{}}, time.Now)
}

// TestAMissingRightIsNamed takes each right away in turn, on a real server.
func TestAMissingRightIsNamed(t *testing.T) {
	server := s3test.Start(t)
	u := server.Bucket("bucket")
	t.Setenv("AWS_ACCESS_KEY_ID", s3test.Guest)
	rights := []string{"s3:ListBucket", "s3:ListBucketMultipartUploads", "s3:GetObject", "s3:PutObject", "s3:DeleteObject"}
	allow(t, server, "bucket", rights...)
	want(t, onS3(t, u), well)
	for right, findings := range map[string][]string{
		"s3:ListBucket":                 {"fail cannot be used ... the access key needs s3:ListBucket"},
		"s3:PutObject":                  {"fail cannot be written to ... the access key needs s3:PutObject"},
		"s3:GetObject":                  {"fail cannot be written to ... the access key needs s3:GetObject"}, // as it is asked for what it stored
		"s3:DeleteObject":               {"note takes and gives back objects, and lets none go ... s3:DeleteObject"},
		"s3:ListBucketMultipartUploads": {well, "note what killed uploads leave there stays ... s3:ListBucketMultipartUploads"},
	} {
		t.Run(right, func(t *testing.T) {
			var others []string
			for _, r := range rights {
				if r != right {
					others = append(others, r)
				}
			}
			allow(t, server, "bucket", rights...)
			want(t, onS3(t, u), well) // clears away what an earlier look had to leave
			allow(t, server, "bucket", others...)
			want(t, onS3(t, u), findings...)
		})
	}
}

func TestABucketThatIsNotAsItsURLSays(t *testing.T) {
	server := s3test.Start(t)
	u := server.Bucket("bucket")
	elsewhere := *u
	elsewhere.RawQuery = strings.Replace(u.RawQuery, "us-east-1", "eu-west-7", 1)
	nowhere := *u
	nowhere.Host = "other"
	locked := *u
	locked.RawQuery += "&lock=governance&lock-days=1"
	want(t, onS3(t, &elsewhere), "fail cannot be used ... region")
	want(t, onS3(t, &nowhere), "fail cannot be used ... create the bucket")
	want(t, onS3(t, &locked), "fail cannot be used ... made with object lock")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "wrong")
	want(t, onS3(t, u), "fail cannot be used ... the secret key is wrong")
}

func TestALockThatKeepsTheProbe(t *testing.T) {
	server := s3test.Start(t)
	u := server.LockingBucket("locking")
	u.RawQuery += "&lock=governance&lock-days=1"
	want(t, onS3(t, u), "note takes and gives back objects, and lets none go (locked until")
	want(t, onS3(t, u), "note takes and gives back objects, and lets none go (locked until")
}
