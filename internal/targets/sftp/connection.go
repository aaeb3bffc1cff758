package sftp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// connection is one to the server, until it breaks.
type connection struct {
	*sftp.Client
	ssh  *ssh.Client
	wire *wire
	gone chan struct{} // closed when it has broken
}

// wire counts what comes from the server.
type wire struct {
	net.Conn
	read atomic.Int64 // bytes
}

func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	w.read.Add(int64(n))
	return n, err
}

// attempts is how often anything is tried, where the connection breaks each time.
const attempts = 5

// retry calls op until it has an answer. What op does has to be harmless when it is done twice.
func (s *Store) retry(ctx context.Context, op func(c *connection) error) error {
	wait := s.times.firstWait
	for attempt := 1; ; attempt++ {
		c, err := s.connect(ctx)
		if err != nil && attempt == 1 {
			return err // it was not there to begin with
		}
		if err == nil {
			if err = s.do(ctx, c, op); answered(err) {
				return err
			}
			s.drop(c)
		}
		if attempt == attempts || errors.As(err, new(*final)) {
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

// do calls op. The library's calls know no contexts: a connection on which one has no answer for a while after ctx has ended is dropped, and
// others who use it go on with a new one.
func (s *Store) do(ctx context.Context, c *connection, op func(c *connection) error) error {
	done := make(chan struct{})
	defer close(done)
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-done:
		case <-time.After(s.times.grace):
			s.drop(c)
		}
	})
	defer stop()
	return op(c)
}

// connect gives the connection, which is made when there is none.
func (s *Store) connect(ctx context.Context) (*connection, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.latest != nil && s.latest.alive() {
		return s.latest, nil
	}
	c, err := s.dial(ctx)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, fmt.Errorf("connect to %s: %w", s.at.address, err)
	}
	s.latest = c
	return c, nil
}

func (c *connection) alive() bool {
	select {
	case <-c.gone:
		return false
	default:
		return true
	}
}

// drop ends a connection that is of no use any more.
func (s *Store) drop(c *connection) {
	_ = c.ssh.Close() // it is broken, as a rule
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.latest == c {
		s.latest = nil
	}
}

func (s *Store) dial(ctx context.Context) (*connection, error) {
	hosts, err := s.at.hosts()
	if err != nil {
		return nil, err
	}
	keys, done, err := s.at.signers()
	if err != nil {
		return nil, err
	}
	defer done()
	ctx, cancel := context.WithTimeoutCause(ctx, s.times.dial, fmt.Errorf("the server does not answer within %s", s.times.dial))
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.at.address)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // which ends what waits for it
	w := &wire{Conn: conn}
	client, err := s.logIn(w, hosts, keys)
	if !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	c := &connection{Client: client.sftp, ssh: client.ssh, wire: w, gone: make(chan struct{})}
	go func() {
		_ = c.Wait() // why it broke is told by the calls that it broke
		close(c.gone)
	}()
	go s.watch(c)
	return c, nil
}

type loggedIn struct {
	ssh  *ssh.Client
	sftp *sftp.Client
}

func (s *Store) logIn(conn net.Conn, hosts hosts, keys []ssh.Signer) (loggedIn, error) {
	c, channels, requests, err := ssh.NewClientConn(conn, s.at.address, &ssh.ClientConfig{
		User: s.at.user, Auth: []ssh.AuthMethod{ssh.PublicKeys(keys...)},
		HostKeyCallback: hosts.verify, HostKeyAlgorithms: hosts.algorithms(s.at.address),
	})
	if err != nil {
		return loggedIn{}, refused(err, s.at.user, keys)
	}
	client := ssh.NewClient(c, channels, requests)
	// What is written is sent again as a whole where it fails, so that holes do no harm.
	files, err := sftp.NewClient(client, sftp.UseConcurrentWrites(true))
	if err != nil {
		return loggedIn{}, fmt.Errorf("begin SFTP (has the server a subsystem sftp?): %w", err)
	}
	return loggedIn{client, files}, nil
}

// refused says which keys were offered to a server that takes none of them. The library has no type for that.
func refused(err error, user string, keys []ssh.Signer) error {
	if own := (*final)(nil); errors.As(err, &own) {
		return own
	}
	if !strings.Contains(err.Error(), "unable to authenticate") {
		return err
	}
	var offered []string
	for _, key := range keys {
		offered = append(offered, fingerprint(key.PublicKey()))
	}
	return &final{fmt.Errorf("the server lets user %s in with none of these keys: %s (is one of them in its authorized_keys?)", user, strings.Join(offered, ", "))}
}

// watch ends a connection from which nothing comes any more, so that whoever waits for it need not wait for ever.
func (s *Store) watch(c *connection) {
	for {
		select {
		case <-c.gone:
			return
		case <-time.After(s.times.interval):
			s.ask(c)
		}
	}
}

// ask asks the server anything, and has patience for as long as something comes from it: on a slow line the question has to wait for
// what is being sent.
func (s *Store) ask(c *connection) {
	answer := make(chan struct{})
	go func() {
		defer close(answer)
		_, _, _ = c.ssh.SendRequest("keepalive@openssh.com", true, nil) // that it is refused is an answer
	}()
	for {
		heard := c.wire.read.Load()
		select {
		case <-answer:
			return
		case <-time.After(s.times.patience):
		}
		if heard == c.wire.read.Load() {
			s.drop(c)
			<-answer
			return
		}
	}
}
