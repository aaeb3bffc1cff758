package testenv

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// Wire is a way to a server, on which connections can be slow, break or fall silent.
type Wire struct {
	Address string // 127.0.0.1:port

	behind string
	ended  chan struct{}

	mu       sync.Mutex
	listener net.Listener
	cut      bool
	broken   int
	next     []Break
	speed    Speed
	all      map[net.Conn]bool
	done     sync.WaitGroup
}

// Speed is that of a wire. The zero value is as fast as can be.
type Speed struct {
	Latency time.Duration // before a piece that was read goes on
	Rate    int64         // bytes per second, in each direction
}

// Break is what happens to one connection.
type Break struct {
	After int64 // bytes, in one direction
	Up    bool  // it is the direction to the server
	How   How
}

// How a connection breaks.
type How int

// The ways in which one does.
const (
	Never  How = iota
	Closed     // in order
	Reset      // by TCP's reset
	Silent     // nothing more is taken nor given, and nothing is closed
)

func (h How) String() string { return [...]string{"whole", "closed", "reset", "silent"}[h] }

// NewWire gives one that ends with the test.
func NewWire(t testing.TB, behind string) *Wire {
	t.Helper()
	w := &Wire{Address: "127.0.0.1:0", behind: behind, ended: make(chan struct{}), all: map[net.Conn]bool{}}
	if err := w.Mend(); err != nil {
		t.Fatal(err)
	}
	w.Address = w.listener.Addr().String()
	t.Cleanup(func() {
		close(w.ended)
		w.Cut()
		w.done.Wait()
	})
	return w
}

// Cut breaks all connections, and has further ones be refused.
func (w *Wire) Cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = true
	_ = w.listener.Close()
	for c := range w.all {
		_ = c.Close()
	}
}

// Mend has connections be taken, at first or again.
func (w *Wire) Mend() error {
	l, err := net.Listen("tcp", w.Address)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.listener, w.cut = l, false
	w.done.Go(func() { w.serve(l) })
	return nil
}

// Becomes sets what is to come: the speed, and what breaks of the next connections, in turn.
func (w *Wire) Becomes(s Speed, breaks ...Break) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.speed, w.next = s, breaks
}

func (w *Wire) serve(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		w.mu.Lock()
		b, speed := Break{}, w.speed
		if len(w.next) > 0 {
			b, w.next = w.next[0], w.next[1:]
		}
		w.mu.Unlock()
		w.done.Go(func() { w.pass(c.(*net.TCPConn), b, speed) })
	}
}

func (w *Wire) pass(client *net.TCPConn, b Break, speed Speed) {
	defer w.hold(client)()
	_ = client.SetReadBuffer(64 << 10) // else much is under way at once
	c, err := net.Dial("tcp", w.behind)
	if err != nil {
		return
	}
	server := c.(*net.TCPConn)
	defer w.hold(server)()
	over := make(chan struct{}, 2)
	copying := func(to, from *net.TCPConn, mine bool) {
		defer func() { over <- struct{}{} }()
		if w.copy(to, from, speed, mine && b.How != Never, b.After) {
			w.breaks(b.How, client, server)
		}
	}
	go copying(server, client, b.Up)
	go copying(client, server, !b.Up)
	<-over
	_ = client.Close()
	_ = server.Close()
	<-over
}

// hold has the connection closed with the wire, at the latest.
func (w *Wire) hold(c net.Conn) (release func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all[c] = true
	if w.cut { // after it was taken
		_ = c.Close()
	}
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.all, c)
		_ = c.Close()
	}
}

// copy tells whether the limit was reached.
func (w *Wire) copy(to io.Writer, from io.Reader, speed Speed, limited bool, limit int64) bool {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if limited && int64(n) >= limit {
			_, _ = to.Write(buf[:limit])
			return true
		}
		limit -= int64(n)
		if !w.wait(speed.of(n)) || err != nil {
			return false
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return false
		}
	}
}

// of is how long so many bytes take.
func (s Speed) of(n int) time.Duration {
	if s.Rate == 0 {
		return s.Latency
	}
	return s.Latency + time.Duration(int64(n)*int64(time.Second)/s.Rate)
}

func (w *Wire) wait(d time.Duration) bool {
	if d == 0 {
		return true
	}
	select {
	case <-time.After(d):
		return true
	case <-w.ended:
		return false
	}
}

// Broken is how many connections broke on their way, as they were meant to.
func (w *Wire) Broken() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.broken
}

func (w *Wire) breaks(how How, client, server *net.TCPConn) {
	w.mu.Lock()
	w.broken++
	w.mu.Unlock()
	switch how {
	case Reset:
		_ = client.SetLinger(0)
		_ = server.SetLinger(0)
	case Silent:
		<-w.ended
	}
}
