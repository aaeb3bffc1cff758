package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/backupd/backupd/internal/targets"
)

// Abandon is described at targets.Abandoner: what is left of a Put that was killed are the parts of a multipart upload, for which the
// bucket's owner is charged for ever. A server that knows no list of uploads has none to give up.
func (s *Store) Abandon(ctx context.Context, prefix string, mine func(key string) bool) (int, error) {
	if err := targets.CheckPrefix(prefix); err != nil {
		return 0, fmt.Errorf("abandon: %w", err)
	}
	uploads, err := s.uploads(ctx, prefix)
	if _, status := answer(err); status == http.StatusNotImplemented {
		return 0, nil
	}
	if err != nil {
		return 0, s.wrap(opUploads, prefix, err)
	}
	abandoned := 0
	var errs []error
	for _, found := range uploads {
		key := strings.TrimPrefix(aws.ToString(found.Key), s.at.prefix)
		if targets.CheckKey(key) != nil || !mine(key) {
			continue
		}
		if err := (&upload{store: s, key: key, id: found.UploadId}).abort(ctx); err != nil {
			errs = append(errs, err)
			continue
		}
		abandoned++
	}
	return abandoned, errors.Join(errs...)
}

// uploads lists the multipart uploads under a prefix that have not ended. A listing that does not come to an end is left.
func (s *Store) uploads(ctx context.Context, prefix string) (all []types.MultipartUpload, err error) {
	pages := s3.NewListMultipartUploadsPaginator(s.client, &s3.ListMultipartUploadsInput{Bucket: &s.at.bucket, Prefix: s.key(prefix)},
		func(o *s3.ListMultipartUploadsPaginatorOptions) { o.StopOnDuplicateToken = true })
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, u := range page.Uploads {
			if !strings.HasPrefix(aws.ToString(u.Key), *s.key(prefix)) {
				return nil, fmt.Errorf("the server lists an upload of %q, which was not asked for", aws.ToString(u.Key))
			}
		}
		all = append(all, page.Uploads...)
	}
	return all, nil
}
