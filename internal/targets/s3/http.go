package s3

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"

	"github.com/backupd/backupd/internal/targets"
)

// patience is how long a server is waited for, at each attempt.
type patience struct {
	connect  time.Duration // for a connection, and again for its encryption
	answer   time.Duration // for an answer to begin
	assemble time.Duration // the same, where the server may have to copy all parts of an object first
	silence  time.Duration // for more bytes of a body to move, in either direction
	insist   time.Duration // for an upload that fails to get on
	backoff  retry.BackoffDelayer
}

// longestPause is that between two attempts.
const longestPause = 20 * time.Second

func usual() patience {
	return patience{
		connect: 10 * time.Second, answer: time.Minute, assemble: 15 * time.Minute, silence: time.Minute, insist: 10 * time.Minute,
		backoff: retry.NewExponentialJitterBackoff(longestPause),
	}
}

// scaled is so much that a silence lasts that long; 0 changes nothing.
func (p patience) scaled(silence time.Duration) patience {
	if silence == 0 {
		return p
	}
	scale := func(d time.Duration) time.Duration {
		return time.Duration(float64(d) * float64(silence) / float64(p.silence))
	}
	return patience{
		connect: scale(p.connect), answer: scale(p.answer), assemble: scale(p.assemble), silence: silence, insist: scale(p.insist),
		backoff: retry.NewExponentialJitterBackoff(scale(longestPause)),
	}
}

// newHTTPClient gives one that trusts the authorities of the file too, if there is one. It has to be the SDK's kind of client, as with any
// other AWS_CA_BUNDLE in the environment is an error.
func newHTTPClient(caFile string, p patience) (*awshttp.BuildableClient, error) {
	client := awshttp.NewBuildableClient().
		WithDialerOptions(func(d *net.Dialer) { d.Timeout = p.connect }).
		WithTransportOptions(func(t *http.Transport) { t.TLSHandshakeTimeout = p.connect })
	if caFile == "" {
		return client, nil
	}
	roots, err := targets.Authorities(caFile)
	if err != nil {
		return nil, fmt.Errorf("parameter ca-file: %w", err)
	}
	return client.WithTransportOptions(func(t *http.Transport) {
		if t.TLSClientConfig == nil {
			t.TLSClientConfig = &tls.Config{}
		}
		t.TLSClientConfig.RootCAs = roots
	}), nil
}
