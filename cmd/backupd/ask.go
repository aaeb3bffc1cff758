package main

import (
	"fmt"
	"os"

	"golang.org/x/term"
)

// ask asks whoever sits at the terminal for a passphrase: there, as standard input and output may be something else.
func ask(of string) ([]byte, error) {
	terminal, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("it has a passphrase, and there is no terminal to ask for it on: use a file without one, or a terminal: %w", err)
	}
	defer terminal.Close() // nothing was kept of what was written
	fmt.Fprintf(terminal, "passphrase of %s: ", printable(of))
	phrase, err := term.ReadPassword(int(terminal.Fd()))
	fmt.Fprintln(terminal)
	if err != nil {
		return nil, fmt.Errorf("ask for its passphrase: %w", err)
	}
	return phrase, nil
}
