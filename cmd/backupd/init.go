package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"golang.org/x/term"
)

// isInit tells whether this process is the first of a container: when it dies the kernel kills all others, guards too.
func isInit() bool { return os.Getpid() == 1 }

// asInit is the first process of a container. It does nothing but start the program proper and outlive it until the guards of its holds have
// let go, so that a worker that is killed takes none of them along. It gives the worker's exit code.
func asInit() (code int, err error) {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, forwarded()...)
	worker, err := os.StartProcess("/proc/self/exe", os.Args, &os.ProcAttr{Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}})
	if err != nil {
		return exitFailed, fmt.Errorf("start the program proper: %w", err)
	}
	go func() {
		for s := range signals {
			_ = worker.Signal(s) // it may have ended just now
		}
	}()
	return reap(worker.Pid)
}

// forwarded are the signals that are the worker's. What a terminal sends goes to both anyway, and the second one would end the worker at once.
func forwarded() []os.Signal {
	all := []os.Signal{syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2}
	byTerminal := []os.Signal{syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT}
	if term.IsTerminal(int(os.Stdin.Fd())) {
		signal.Ignore(byTerminal...)
		return all
	}
	return slices.Concat(all, byTerminal)
}

// reap waits for all processes there are, and gives the exit code of one.
func reap(worker int) (code int, err error) {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.ECHILD):
			return code, nil
		case err != nil:
			return exitFailed, fmt.Errorf("wait for processes: %w", err)
		case pid == worker && status.Signaled():
			code = 128 + int(status.Signal()) // as a shell says it
		case pid == worker:
			code = status.ExitStatus()
		}
	}
}
