package main

import (
	"fmt"
	"os"

	"golang.org/x/term"

	"github.com/backupd/backupd/internal/seal"
)

// asker asks for passphrases on the terminal that standard error is; nil where it is none. What is asked for does not come by standard input,
// which may be something else.
func (a *app) asker() seal.Ask {
	if !isTerminal(a.std.err) {
		return nil
	}
	return func(of string) ([]byte, error) {
		terminal, err := os.Open("/dev/tty")
		if err != nil {
			return nil, fmt.Errorf("ask for the passphrase of %s: %w", of, err)
		}
		defer terminal.Close() // it was only read from
		fmt.Fprintf(a.std.err, "passphrase of %s: ", printable(of))
		phrase, err := term.ReadPassword(int(terminal.Fd()))
		fmt.Fprintln(a.std.err)
		if err != nil {
			return nil, fmt.Errorf("ask for the passphrase of %s: %w", of, err)
		}
		return phrase, nil
	}
}
