package s3

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"io/fs"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/backupd/backupd/internal/targets"
)

// Put is described at targets.Store.
//
// An object of less than one part is one request, any other a multipart upload, which is aborted when it fails. The server is given
// a checksum of what was read, and asked afterwards what it has: it is not believed to have stored anything.
func (s *Store) Put(ctx context.Context, key string, r io.Reader) error {
	if err := targets.CheckKey(key); err != nil {
		return fmt.Errorf("put: %w", err)
	}
	u := s.newUpload(key, r)
	chunks := u.newChunks(r)
	first, err := chunks.next(ctx, 1)
	switch err {
	case io.EOF:
		if err := u.whole(ctx, first); err != nil {
			return err
		}
		first.done()
		chunks.pool.release()
		return nil
	case nil:
		return u.multipart(ctx, first, chunks)
	}
	return err
}

// upload is one Put.
type upload struct {
	store *Store
	key   string
	mark  string  // in the object's metadata: tells whether an object is of this very Put
	id    *string // of the multipart upload

	keeping keeping
	insistence
}

func (s *Store) newUpload(key string, r io.Reader) *upload {
	return &upload{store: s, key: key, mark: rand.Text(), keeping: s.at.keeping.of(r), insistence: insistence{store: s, source: r}}
}

const markName = "backupd-put"

func (u *upload) metadata() map[string]string { return map[string]string{markName: u.mark} }

// unread is the error of a reader, which is not the server's and must not be taken for it: r may well read from another store.
func (u *upload) unread(err error) error {
	return fmt.Errorf("put s3://%s/%s%s: read what is to be put: %w", u.store.at.bucket, u.store.at.prefix, u.key, err)
}

func (u *upload) failed(err error) error { return u.store.wrap(opPut, u.key, err) }

func (u *upload) whole(ctx context.Context, data chunk) error {
	k := u.keeping
	want := content{size: data.size, sum: u.store.at.proof.text(data.sum)}
	return u.commit(ctx, want, func(answered context.Context, ifNoneMatch *string) error {
		in := &s3.PutObjectInput{
			Bucket: &u.store.at.bucket, Key: u.store.key(u.key), Metadata: u.metadata(), IfNoneMatch: ifNoneMatch,
			Body: newBody(ctx, data), ContentLength: &want.size,
			StorageClass: k.class, ServerSideEncryption: k.sse, SSEKMSKeyId: orNil(k.kmsKey),
		}
		in.ObjectLockMode, in.ObjectLockRetainUntilDate = k.until(u.store.now())
		in.ChecksumCRC32C, in.ContentMD5 = u.store.at.proof.headers(data.sum)
		_, err := u.store.client.PutObject(answered, in, u.insist)
		return err
	})
}

// commit makes the object appear by a call that takes an If-None-Match header. To a server that does not know this header it does
// not send it again, and asks before whether the object is there: the best that can be done then.
func (u *upload) commit(ctx context.Context, want content, call func(ctx context.Context, ifNoneMatch *string) error) error {
	answered, cancel := targets.ToBeAnswered(ctx)
	defer cancel()
	if !u.store.unconditional.Load() {
		err := call(answered, aws.String("*"))
		if _, status := answer(err); status != http.StatusNotImplemented {
			return u.settle(ctx, want, err)
		}
	}
	switch _, err := u.head(answered); {
	case err == nil:
		return u.failed(fs.ErrExist)
	case !isAbsent(err):
		return u.failed(err)
	}
	err := call(answered, nil)
	if _, status := answer(err); status != http.StatusNotImplemented { // else it is something else that the server does not know
		u.store.withoutConditions()
	}
	return u.settle(ctx, want, err)
}

// withoutConditions notes what was found out about the server.
func (s *Store) withoutConditions() {
	if !s.unconditional.Swap(true) {
		s.log.Warn("the server cannot keep objects from being replaced, so backupd looks before it writes", "bucket", s.at.bucket)
	}
}
