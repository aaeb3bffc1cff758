package testenv

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// Serve runs a server until the test ends, at an address of loopback that command is told, and waits until it listens.
func Serve(t testing.TB, command func(address string) *exec.Cmd) (address string, process *os.Process) {
	t.Helper()
	// A port that is free now may be taken when the server gets to it.
	for range 5 {
		address := freeAddress(t)
		server := command(address)
		complaint := serve(t, server, address)
		if complaint == "" {
			return address, server.Process
		}
		t.Logf("start %s at %s: %s", server.Path, address, complaint)
	}
	t.Fatal("the server does not start")
	return "", nil
}

func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// serve gives what the server says when it ends instead.
func serve(t testing.TB, server *exec.Cmd, address string) (complaint string) {
	t.Helper()
	var out bytes.Buffer
	server.Stdout, server.Stderr = &out, &out
	server.WaitDelay = time.Second // what it has started may outlive it, and hold on to these
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	// Out is complete only once the server has ended.
	ended := make(chan struct{})
	go func() {
		_ = server.Wait() // it is killed, as a rule
		close(ended)
	}()
	t.Cleanup(func() {
		_ = server.Process.Kill() // it may have ended by itself
		<-ended
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		if conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address); err == nil {
			_ = conn.Close()
			return ""
		}
		select {
		case <-ended:
			return "it ended: " + strings.TrimSpace(out.String())
		case <-ctx.Done():
			return "it does not listen"
		case <-time.After(10 * time.Millisecond):
		}
	}
}
