package s3

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
)

// newHTTPClient gives one that trusts the authorities of the file too, if there is one. It has to be the SDK's kind of client, as with any
// other AWS_CA_BUNDLE in the environment is an error.
func newHTTPClient(caFile string) (*awshttp.BuildableClient, error) {
	client := awshttp.NewBuildableClient().WithDialerOptions(func(d *net.Dialer) { d.Timeout = 10 * time.Second })
	if caFile == "" {
		return client, nil
	}
	roots, err := trusted(caFile)
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

// trusted is the machine's own authorities and those of a file.
func trusted(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		return nil, err
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("there is no certificate in %s (it has to be PEM)", file)
	}
	return roots, nil
}

// answering waits so long for the answer to a request that was sent.
func answering(client *awshttp.BuildableClient, within time.Duration) *awshttp.BuildableClient {
	return client.WithTransportOptions(func(t *http.Transport) { t.ResponseHeaderTimeout = within })
}
