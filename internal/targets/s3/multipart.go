package s3

import (
	"context"
	"errors"
	"io"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"github.com/backupd/backupd/internal/targets"
)

// multipart uploads first, which is a whole part, and all that comes after it.
func (u *upload) multipart(ctx context.Context, first chunk, chunks *chunks) (err error) {
	k := u.keeping
	in := &s3.CreateMultipartUploadInput{
		Bucket: &u.store.at.bucket, Key: u.store.key(u.key), Metadata: u.metadata(), ChecksumAlgorithm: u.store.at.proof.algorithm(),
		StorageClass: k.class, ServerSideEncryption: k.sse, SSEKMSKeyId: orNil(k.kmsKey),
	}
	in.ObjectLockMode, in.ObjectLockRetainUntilDate = k.until(u.store.now())
	out, err := u.store.client.CreateMultipartUpload(ctx, in, u.insist)
	if err != nil {
		return u.failed(err)
	}
	u.id = out.UploadId
	defer func() {
		if err != nil {
			err = errors.Join(err, u.abort(ctx))
		}
	}()
	parts, err := u.parts(ctx, first, chunks)
	if err != nil {
		return err
	}
	return u.complete(ctx, parts)
}

// part is a part on its way, or there.
type part struct {
	number int32
	size   int64
	sum    []byte
	etag   *string
}

// parts sends the parts. The chunks there can be at once are what bounds how many are on their way.
func (u *upload) parts(ctx context.Context, c chunk, chunks *chunks) ([]*part, error) {
	var parts []*part
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		for c.size > 0 {
			if len(parts) == u.store.at.maxParts {
				return u.tooLong(chunks.read-c.size, chunks.kept != nil)
			}
			p, data := &part{number: int32(len(parts) + 1), size: c.size, sum: c.sum}, c
			parts = append(parts, p)
			g.Go(func() error {
				if err := u.send(ctx, p, data); err != nil {
					return err
				}
				data.done()
				return nil
			})
			if err == io.EOF {
				return nil
			}
			if c, err = chunks.next(ctx, len(parts)+1); err != nil && err != io.EOF {
				return err
			}
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	chunks.pool.release()
	return parts, nil
}

// send uploads one part and notes what the server says to it.
func (u *upload) send(ctx context.Context, part *part, data chunk) error {
	answered, cancel := targets.ToBeAnswered(ctx)
	defer cancel()
	in := &s3.UploadPartInput{
		Bucket: &u.store.at.bucket, Key: u.store.key(u.key), UploadId: u.id, PartNumber: &part.number,
		Body: newBody(ctx, data), ContentLength: &data.size,
	}
	in.ChecksumCRC32C, in.ContentMD5 = u.store.at.proof.headers(data.sum)
	out, err := u.store.client.UploadPart(answered, in, u.insist)
	if err != nil {
		return u.failed(err)
	}
	part.etag = out.ETag
	u.arrived()
	return nil
}

func (u *upload) complete(ctx context.Context, parts []*part) error {
	var want content
	all, sums := make([]types.CompletedPart, len(parts)), make([][]byte, len(parts))
	for i, p := range parts {
		all[i] = types.CompletedPart{PartNumber: &p.number, ETag: p.etag}
		all[i].ChecksumCRC32C, _ = u.store.at.proof.headers(p.sum)
		sums[i], want.size = p.sum, want.size+p.size
	}
	want.sum = u.store.at.proof.ofParts(sums)
	return u.commit(ctx, want, func(ctx context.Context, ifNoneMatch *string) error {
		_, err := u.store.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
			Bucket: &u.store.at.bucket, Key: u.store.key(u.key), UploadId: u.id, IfNoneMatch: ifNoneMatch,
			MultipartUpload: &types.CompletedMultipartUpload{Parts: all},
		}, u.insist, u.store.patiently)
		return err
	})
}

// patiently is for the call that makes one object of many parts: some servers copy all of them before they answer.
func (s *Store) patiently(o *s3.Options) { o.HTTPClient = s.patient }

// abort makes the server forget the parts, which it would keep, and charge for, for ever.
func (u *upload) abort(ctx context.Context) error {
	ctx, cancel := targets.Afterwards(ctx)
	defer cancel()
	_, err := u.store.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{
		Bucket: &u.store.at.bucket, Key: u.store.key(u.key), UploadId: u.id,
	})
	if code, _ := answer(err); err != nil && code != "NoSuchUpload" {
		return u.store.wrap(opAbort, u.key, err)
	}
	return nil
}
