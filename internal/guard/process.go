package guard

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

// itself is the file that this process runs, also after another has taken its name.
const itself = "/proc/self/exe"

// Process starts this same program as a guard, with these arguments: in a session of its own, so that no terminal's signal reaches it, and
// without what systemd gave this process to talk about itself.
func Process(arguments ...string) (*Guard, error) {
	cmd := &exec.Cmd{
		Path:        itself,
		Args:        append([]string{os.Args[0]}, arguments...),
		Env:         slices.DeleteFunc(os.Environ(), ofSystemd),
		Stderr:      os.Stderr, // the file itself: a pipe in between would end with this process
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	orders, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe: %w", err)
	}
	answers, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &Guard{Orders: orders, Answers: answers, Wait: cmd.Wait}, nil
}

func ofSystemd(variable string) bool {
	name, _, _ := strings.Cut(variable, "=")
	return name == "NOTIFY_SOCKET" || name == "WATCHDOG_USEC" || name == "WATCHDOG_PID"
}

// Harden makes this process, which is a guard, outlive signals that are meant for whoever asked it for a hold: it ends when that one does.
// Writing to somebody who has gone is an error and not the end.
func Harden() {
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE, syscall.SIGUSR1, syscall.SIGUSR2)
}
