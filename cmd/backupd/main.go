// Command backupd backs up Docker volumes, keeps what the retention policy names, and gives volumes back.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // so that CRON_TZ= works where the system has no time zones

	_ "golang.org/x/crypto/x509roots/fallback" // and S3 by TLS where it has no certificates, as in an empty image
)

// version is set when the program is built.
var version = "dev"

func main() {
	if isInit() {
		code, err := asInit()
		if err != nil {
			printError(os.Stderr, err)
		}
		os.Exit(code)
	}
	std := streams{os.Stdin, os.Stdout, &console{w: os.Stderr}}
	ctx, stop := untilSignal(std.err)
	code := run(ctx, os.Args[1:], std)
	stop()
	os.Exit(code)
}

// streams are what a command reads and writes.
type streams struct {
	in  io.Reader
	out io.Writer
	err *console
}

// run is the program without the process around it, and gives the exit code.
func run(ctx context.Context, args []string, std streams) int {
	root := newRoot(std)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil {
		printError(std.err, err)
	}
	return exitCode(err)
}

// untilSignal gives a context that ends with the first signal to stop. The second signal ends the process at once.
func untilSignal(say io.Writer) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		got := <-signals
		fmt.Fprintf(say, "%s: letting go of everything; once more ends at once\n", got)
		cancel(fmt.Errorf("stopped by signal (%s)", got))
		<-signals
		os.Exit(exitFailed)
	}()
	return ctx, func() { signal.Stop(signals); cancel(nil) }
}
