package s3

import (
	"bytes"
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// body is what is uploaded, as long as ctx lasts. When all of it is sent the answer is waited for (targets.ToBeAnswered): a server that
// goes on with a request that nobody waits for would bring up a part again after the upload was aborted.
type body struct {
	ctx  context.Context
	data *bytes.Reader
}

func newBody(ctx context.Context, data []byte) body { return body{ctx, bytes.NewReader(data)} }

// Read says by its error that there is no use in trying again.
func (b body) Read(p []byte) (int, error) {
	if b.ctx.Err() != nil && b.data.Len() > 0 {
		return 0, &aws.RequestCanceledError{Err: context.Cause(b.ctx)}
	}
	return b.data.Read(p)
}

// Seek lets the SDK read twice: for the signature, or to try again.
func (b body) Seek(offset int64, whence int) (int64, error) { return b.data.Seek(offset, whence) }
