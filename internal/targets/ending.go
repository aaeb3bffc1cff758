package targets

import (
	"context"
	"time"
)

// What is being put when ctx ends is broken off while its bytes are on the way, as then it has no effect. The call that makes the
// object appear is waited for: a server that goes on with a request that nobody waits for would bring up the object after Put has said
// that there is none.

// grace is how long after the end of a context an answer is waited for.
const grace = 10 * time.Second

// ToBeAnswered is a context for such a call.
func ToBeAnswered(ctx context.Context) (context.Context, context.CancelFunc) {
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

// Afterwards is a context for what has to be done also when ctx has ended, such as finding out what took effect, and taking away what
// is of no use any more.
func Afterwards(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
}
