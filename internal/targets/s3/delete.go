package s3

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/backupd/backupd/internal/targets"
)

// Delete is described at targets.Store. A bucket that locks objects keeps versions of them, and would answer to any deletion with
// success: what it does then is to hide the object, which its lock has been set for to stay, and which nobody would ever remove once the
// lock has ended. So the object is asked for its lock, and then removed as the very version that it is.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := targets.CheckKey(key); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	there, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.at.bucket, Key: s.key(key)})
	if err == nil {
		err = s.remove(ctx, key, there)
	}
	if err != nil && !isAbsent(err) {
		return s.wrap(opDelete, key, err)
	}
	return nil
}

// Kept is described at targets.Keeper.
func (s *Store) Kept(ctx context.Context, key string) error {
	if err := targets.CheckKey(key); err != nil {
		return fmt.Errorf("ask whether it is kept: %w", err)
	}
	there, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.at.bucket, Key: s.key(key)})
	if err == nil {
		return locked(there, s.now())
	}
	if isAbsent(err) {
		return nil
	}
	return s.wrap(opLock, key, err)
}

func (s *Store) remove(ctx context.Context, key string, there *s3.HeadObjectOutput) error {
	if err := locked(there, s.now()); err != nil {
		return err
	}
	in := &s3.DeleteObjectInput{Bucket: &s.at.bucket, Key: s.key(key)}
	if s.at.keeping.mode != "" { // else versions are somebody else's safety net
		in.VersionId = there.VersionId
	}
	_, err := s.client.DeleteObject(ctx, in)
	return err
}
