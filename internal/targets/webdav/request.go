package webdav

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"time"
)

// newClient follows no redirection, which would take the password elsewhere, and what is put.
func newClient(caFile string, times times) (*http.Client, error) {
	t := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           times.dial,
		TLSHandshakeTimeout:   times.connect,
		ResponseHeaderTimeout: times.answer,
		IdleConnTimeout:       30 * time.Second,
		MaxIdleConnsPerHost:   8,
		DisableCompression:    true, // sizes are those of the objects
		TLSClientConfig:       &tls.Config{},
	}
	if caFile != "" {
		if err := trust(t, caFile); err != nil {
			return nil, err
		}
	}
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, nil
}

func (t times) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: t.connect}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &impatient{conn, t.silence}, nil
}

// impatient is a connection that fails where the other side takes nothing for a while. That there is nothing to send is no such thing.
type impatient struct {
	net.Conn
	silence time.Duration
}

func (c *impatient) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.silence)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// refusal is an answer that says no.
type refusal struct{ code int }

func (r *refusal) Error() string {
	switch r.code {
	case http.StatusUnauthorized:
		return "the server does not take the user name and password (401): are user and password-file those of this server?"
	case http.StatusForbidden:
		return "the server does not allow it (403): may this user read and write there?"
	case http.StatusInsufficientStorage, http.StatusRequestEntityTooLarge:
		return fmt.Sprintf("the server has no room for it (%d %s)", r.code, http.StatusText(r.code))
	}
	if r.code/100 == 3 {
		return fmt.Sprintf("the server says that it is elsewhere (%d): put the address where it is into the target's URL", r.code)
	}
	return fmt.Sprintf("the server answers %d %s", r.code, http.StatusText(r.code))
}

func (r *refusal) Is(target error) bool {
	return target == fs.ErrNotExist && r.code == http.StatusNotFound
}

// refusedWith tells whether the server has answered with that code.
func refusedWith(err error, code int) bool {
	r := (*refusal)(nil)
	return errors.As(err, &r) && r.code == code
}

// do sends one request. What comes back is a success, with a body to close.
func (s *Store) do(ctx context.Context, method string, to *url.URL, header map[string]string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, to.String(), body)
	if err != nil {
		return nil, err
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	if s.at.user != "" {
		req.SetBasicAuth(s.at.user, s.password)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if errors.As(err, new(x509.UnknownAuthorityError)) {
			err = fmt.Errorf("%w (if the certificate is the server's own, name it by ca-file=/path)", err)
		}
		return nil, err
	}
	if resp.StatusCode/100 != 2 {
		_ = resp.Body.Close() // nobody needs more of it
		return nil, &refusal{resp.StatusCode}
	}
	return resp, nil
}

// attempts is how often anything is tried that may pass by itself.
const attempts = 5

// retry calls op until it has an answer that is final. What op does has to be harmless when it is done twice.
func (s *Store) retry(ctx context.Context, op func() error) error {
	wait := s.times.firstWait
	for attempt := 1; ; attempt++ {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		err := op()
		if err == nil || !passes(err) || attempt == attempts {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait):
			wait *= 2
		}
	}
}

// passes tells whether an error may be gone the next time.
func passes(err error) bool {
	r := (*refusal)(nil)
	if !errors.As(err, &r) {
		return errors.As(err, new(*url.Error)) && !errors.As(err, new(*tls.CertificateVerificationError)) || errors.Is(err, io.ErrUnexpectedEOF)
	}
	switch r.code {
	case http.StatusLocked, http.StatusTooManyRequests, http.StatusRequestTimeout:
		return true
	case http.StatusNotImplemented, http.StatusInsufficientStorage:
		return false
	}
	return r.code >= 500
}

// call is for requests whose answer is of no interest beyond that it is a success.
func (s *Store) call(ctx context.Context, method string, to *url.URL, header map[string]string) error {
	return s.retry(ctx, func() error {
		resp, err := s.do(ctx, method, to, header, nil)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode == http.StatusMultiStatus {
			return errors.New("the server did it in part only")
		}
		return nil
	})
}
