package s3

import (
	"context"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// body is what is uploaded, as long as ctx lasts. When all of it is sent the answer is waited for (targets.ToBeAnswered): a server that
// goes on with a request that nobody waits for would bring up a part again after the upload was aborted.
type body struct {
	ctx  context.Context
	data *io.SectionReader
}

func newBody(ctx context.Context, c chunk) body {
	return body{ctx, io.NewSectionReader(c.content, c.at, c.size)}
}

// Read says by its error that there is no use in trying again.
func (b body) Read(p []byte) (int, error) {
	if at, _ := b.data.Seek(0, io.SeekCurrent); b.ctx.Err() != nil && at < b.data.Size() { // to ask where it is never fails
		return 0, &aws.RequestCanceledError{Err: context.Cause(b.ctx)}
	}
	return b.data.Read(p)
}

// Seek lets the SDK read twice: for the signature, or to try again.
func (b body) Seek(offset int64, whence int) (int64, error) { return b.data.Seek(offset, whence) }
