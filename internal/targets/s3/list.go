package s3

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/backupd/backupd/internal/targets"
)

// List is described at targets.Store. Objects that others put into the bucket are listed too when they have a key in this sense.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[targets.Object, error] {
	return func(yield func(targets.Object, error) bool) {
		if err := s.list(ctx, prefix, yield); err != nil {
			yield(targets.Object{}, err)
		}
	}
}

func (s *Store) list(ctx context.Context, prefix string, yield func(targets.Object, error) bool) error {
	if err := targets.CheckPrefix(prefix); err != nil {
		return fmt.Errorf("list: %w", err)
	}
	pages := s3.NewListObjectsV2Paginator(s.client, &s3.ListObjectsV2Input{Bucket: &s.at.bucket, Prefix: s.key(prefix)})
	last := ""
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return s.wrap(opList, prefix, err)
		}
		for _, o := range page.Contents {
			key := aws.ToString(o.Key)
			if err := s.checkListed(last, key, prefix); err != nil {
				return s.wrap(opList, prefix, err)
			}
			last = key
			key = strings.TrimPrefix(key, s.at.prefix)
			if targets.CheckKey(key) != nil {
				continue
			}
			found := targets.Object{Key: key, Size: aws.ToInt64(o.Size), Modified: aws.ToTime(o.LastModified)}
			if !yield(found, nil) {
				return nil
			}
		}
	}
	return nil
}

// checkListed holds a server to what S3 promises of a listing: that it gives what was asked for, sorted, and so comes to an end.
func (s *Store) checkListed(last, key, prefix string) error {
	if !strings.HasPrefix(key, *s.key(prefix)) {
		return fmt.Errorf("the server lists %q, which was not asked for", key)
	}
	if key <= last && last != "" {
		return errors.New("the server's listing is not sorted")
	}
	return nil
}
