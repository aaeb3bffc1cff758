package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// dialogue asks somebody at a terminal. Each answer is a line.
type dialogue struct {
	fd  int
	in  *bufio.Reader
	out io.Writer
}

// errQuit says that whoever was asked wants nothing of it.
var errQuit = errors.New("nothing was restored, as you wish")

// newDialogue gives a dialogue where somebody can be asked: where both what is typed and what is told are a terminal's.
func newDialogue(std streams) (d *dialogue, ok bool) {
	in, isFile := std.in.(*os.File)
	if !isFile || !term.IsTerminal(int(in.Fd())) || !isTerminal(std.err) {
		return nil, false
	}
	return &dialogue{fd: int(in.Fd()), in: bufio.NewReader(in), out: std.err}, true
}

// ask gives the answer to a question, or what is assumed when there is none. The end of input, and "q", are errQuit.
func (d *dialogue) ask(ctx context.Context, question, assumed string) (string, error) {
	if assumed != "" {
		question += " [" + printable(assumed) + "]"
	}
	fmt.Fprintf(d.out, "%s: ", question)
	if err := d.wait(ctx); err != nil {
		return "", err
	}
	line, err := d.in.ReadString('\n')
	answer := strings.TrimSpace(line)
	switch {
	case err == io.EOF && answer == "" || answer == "q":
		fmt.Fprintln(d.out)
		return "", errQuit
	case err != nil && err != io.EOF:
		return "", fmt.Errorf("read the answer: %w", err)
	case answer == "":
		answer = assumed
	}
	return answer, nil
}

// wait waits for a line, which a read of the terminal would do whatever becomes of ctx.
func (d *dialogue) wait(ctx context.Context) error {
	const glance = 100 // milliseconds
	for d.in.Buffered() == 0 {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(d.fd), Events: unix.POLLIN}}, glance)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil && err != unix.EINTR:
			return fmt.Errorf("wait for an answer: %w", err)
		case n > 0:
			return nil
		}
	}
	return nil
}

// askUntil asks until an answer will do; why it will not is told.
func askUntil[T any](ctx context.Context, d *dialogue, question, assumed string, take func(answer string) (T, error)) (T, error) {
	for {
		answer, err := d.ask(ctx, question, assumed)
		if err != nil {
			var none T
			return none, err
		}
		taken, err := take(answer)
		if err == nil || ctx.Err() != nil {
			return taken, err
		}
		fmt.Fprintln(d.out, "  "+printable(err.Error()))
	}
}
