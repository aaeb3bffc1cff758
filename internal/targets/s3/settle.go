package s3

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/backupd/backupd/internal/targets"
)

// settle finds out what became of a call that makes the object appear, by what the server has now and not by what it has answered.
// An answer may be lost, and the SDK then asks again: so it is told that the object exists, or that the upload does not, when the
// first try had done all that was wanted. And a success may be none.
func (u *upload) settle(ctx context.Context, want content, answered error) error {
	ctx, cancel := u.asking(ctx, answered)
	defer cancel()
	there, err := u.head(ctx)
	mark := ""
	if err == nil {
		mark = there.Metadata[markName]
	}
	switch {
	case answered != nil && mark != u.mark:
		return u.failed(answered) // what cannot be asked is taken for what it was called
	case isAbsent(err):
		return u.untrue(errors.New("does not have it"))
	case err != nil:
		return errors.Join(u.store.wrap(opAsk, u.key, err), u.withdraw(ctx))
	case mark != u.mark && mark != "": // there are servers that keep no metadata
		return u.failed(fs.ErrExist)
	}
	err = u.store.at.proof.check(want, there)
	if err == nil {
		err = u.keeping.confirm(there)
	}
	switch {
	case err == nil:
		return nil
	case answered == nil:
		answered = u.untrue(fmt.Errorf("has %w", err))
	default:
		answered = u.failed(answered)
	}
	return errors.Join(answered, u.withdraw(ctx))
}

// asking is a context for questions about a call, longer after one that has succeeded, as all depends on them.
func (u *upload) asking(ctx context.Context, answered error) (context.Context, context.CancelFunc) {
	if answered == nil {
		return targets.ToBeAnswered(ctx)
	}
	return targets.Afterwards(ctx)
}

func (u *upload) head(ctx context.Context) (*s3.HeadObjectOutput, error) {
	return u.store.client.HeadObject(ctx, &s3.HeadObjectInput{
		Bucket: &u.store.at.bucket, Key: u.store.key(u.key), ChecksumMode: u.store.at.proof.mode(),
	}, u.insist)
}

// untrue is for a server that has not done what it has answered.
func (u *upload) untrue(what error) error {
	return u.failed(fmt.Errorf("the server has answered that it is stored, and %w", what))
}

// withdraw takes away what this Put has brought about: what cannot be trusted must not look like an object.
func (u *upload) withdraw(ctx context.Context) error {
	ctx, cancel := targets.Afterwards(ctx)
	defer cancel()
	_, err := u.store.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &u.store.at.bucket, Key: u.store.key(u.key)})
	if err != nil && !isAbsent(err) {
		return u.store.wrap(opWithdraw, u.key, err)
	}
	return nil
}
