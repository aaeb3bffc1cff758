package s3

import (
	"bytes"
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// What is uploaded when ctx ends is broken off while its body is on the way, as then it has no effect. When all of the body is sent
// the answer is waited for: a server that goes on with a request that nobody waits for would bring up a part again after the
// upload was aborted, or an object after Put has said that there is none.

// grace is how long after its end.
const grace = 10 * time.Second

// toBeAnswered is a context for such a request.
func toBeAnswered(ctx context.Context) (context.Context, context.CancelFunc) {
	answered, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-answered.Done():
		case <-time.After(grace):
			cancel(context.Cause(ctx))
		}
	})
	return answered, func() { stop(); cancel(nil) }
}

// body is what is uploaded, as long as ctx lasts.
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

// afterwards is a context for what has to be done also when ctx has ended.
func afterwards(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
}
