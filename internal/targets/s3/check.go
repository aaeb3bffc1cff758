package s3

import (
	"context"
	"fmt"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// Check lists what is in the bucket, one object of it, as that brings the server's reasons where HeadBucket's answer has no text.
func (s *Store) Check(ctx context.Context) error {
	_, err := s.client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &s.at.bucket, Prefix: &s.at.prefix, MaxKeys: aws.Int32(1)})
	if err != nil {
		return s.wrap(opList, "", err)
	}
	if s.at.keeping.mode != "" {
		return s.checkLocks(ctx)
	}
	return nil
}

// checkLocks finds out whether the bucket can lock objects. A server that does not say will when it is sent one.
func (s *Store) checkLocks(ctx context.Context) error {
	out, err := s.client.GetObjectLockConfiguration(ctx, &s3.GetObjectLockConfigurationInput{Bucket: &s.at.bucket})
	switch code, status := answer(err); {
	case code == codeNoLocks:
		return s.wrap(opLocks, "", err)
	case status == http.StatusForbidden || status == http.StatusNotImplemented:
		return nil
	case err != nil:
		return s.wrap(opLocks, "", err)
	case out.ObjectLockConfiguration == nil || out.ObjectLockConfiguration.ObjectLockEnabled != types.ObjectLockEnabledEnabled:
		return fmt.Errorf("look for object lock in s3://%s: it is not enabled (%s)", s.at.bucket, mend(codeNoLocks))
	}
	return nil
}
