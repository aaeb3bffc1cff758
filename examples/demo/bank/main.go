// Command bank is the application of the demo: accounts in an SQLite database, and money that moves between them without end.
//
// It keeps books outside its database as well: after each transaction that the database has confirmed it writes an
// acknowledgement to another file, as a bank tells its customer. After a restore these tell what must be there.
//
//	bank init  DATABASE                    open the accounts
//	bank run   DATABASE ACKS               move money until told to stop
//	bank check DATABASE [ACKS UNTIL]       is all well, and is all there that was acknowledged until then (RFC 3339)?
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bank:", err)
		os.Exit(1)
	}
}

var errUsage = errors.New("use: bank init DATABASE | run DATABASE ACKS | check DATABASE [ACKS UNTIL]")

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) < 2 {
		return errUsage
	}
	command, path, rest := args[0], args[1], args[2:]
	switch {
	case command == "init" && len(rest) == 0:
		return create(ctx, path, papers)
	case command == "run" && len(rest) == 1:
		return trade(ctx, path, rest[0], out)
	case command == "check" && len(rest) == 0:
		return check(ctx, path, nil, out)
	case command == "check" && len(rest) == 2:
		until, err := time.Parse(time.RFC3339, rest[1])
		if err != nil {
			return fmt.Errorf("%w (%w)", errUsage, err)
		}
		acks, err := readAcks(rest[0])
		if err != nil {
			return err
		}
		return check(ctx, path, &promise{acks, until}, out)
	}
	return errUsage
}

// trade moves money until ctx ends, and tells now and then that it does.
func trade(ctx context.Context, path, acks string, out io.Writer) (err error) {
	b, err := openBank(ctx, path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	log, err := openAcks(acks)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()

	for told := (time.Time{}); ctx.Err() == nil; {
		t, err := b.transfer(ctx, rand.IntN(accounts), rand.IntN(accounts), 1+rand.Int64N(100))
		if ctx.Err() != nil {
			break // told to stop in the middle of a transfer: whether it counts is the database's to say
		}
		if err != nil {
			return err
		}
		now := time.Now()
		if err := log.write(ack{Transfer: t, At: now}); err != nil {
			return err
		}
		if now.Sub(told) >= 5*time.Second {
			told = now
			fmt.Fprintf(out, "%d transfers\n", t.Number)
		}
	}
	return nil
}
