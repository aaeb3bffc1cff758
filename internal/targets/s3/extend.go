package s3

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/backupd/backupd/internal/targets"
)

// Extend is described at targets.Extender. It locks for longer what the target's URL wants locked; what a bucket locks by its own settings is
// not this program's to know. No lock is ever made shorter or weaker.
func (s *Store) Extend(ctx context.Context, key string) error {
	if s.at.keeping.mode == "" {
		return nil
	}
	if err := targets.CheckKey(key); err != nil {
		return fmt.Errorf("extend: %w", err)
	}
	mode, until := s.at.keeping.until(s.now())
	there, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.at.bucket, Key: s.key(key)})
	if err == nil && lockedAtLeast(there, *until) {
		return nil
	}
	if err == nil {
		_, err = s.client.PutObjectRetention(ctx, &s3.PutObjectRetentionInput{
			Bucket: &s.at.bucket, Key: s.key(key), VersionId: there.VersionId,
			Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionMode(stronger(mode, there.ObjectLockMode)), RetainUntilDate: until},
		})
	}
	if err == nil { // servers that do not know of locks may say that they have set one
		there, err = s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.at.bucket, Key: s.key(key)})
	}
	if err == nil && !lockedAtLeast(there, *until) {
		err = fmt.Errorf("the server has it without the lock (%s; to see it, the access key needs s3:GetObjectRetention)", mend(codeNoLocks))
	}
	if err != nil {
		return s.wrap(opExtend, key, err)
	}
	return nil
}

// lockedAtLeast tells whether an object is locked until a moment, to the second, as servers keep it.
func lockedAtLeast(there *s3.HeadObjectOutput, until time.Time) bool {
	return there.ObjectLockMode != "" && !aws.ToTime(there.ObjectLockRetainUntilDate).Before(until.Truncate(time.Second))
}

// stronger is a lock that nobody can take away, if one of them is that.
func stronger(a, b types.ObjectLockMode) types.ObjectLockMode {
	if b == types.ObjectLockModeCompliance {
		return b
	}
	return a
}
