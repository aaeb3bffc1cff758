package torture

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/pkg/stdcopy"

	"github.com/backupd/backupd/internal/engine"
)

// contain is start in a container, which is gone when the worker has ended.
func (t *torment) contain(p program, log string, args ...string) (*worker, error) {
	e := t.scene.engine
	settings := slices.DeleteFunc(slices.Clone(p.env), func(set string) bool { return !strings.HasPrefix(set, "BACKUPD_") })
	socket := strings.TrimPrefix(e.Host, "unix://")
	id := e.Create(e.Contained(p.path, socket, []string{t.state, t.target}, settings, args...))
	ended, failed := e.API.ContainerWait(context.WithoutCancel(t.Context()), id, container.WaitConditionNextExit)
	if err := e.API.ContainerStart(t.Context(), id, container.StartOptions{}); err != nil {
		return nil, err
	}
	c, err := e.API.ContainerInspect(t.Context(), id)
	if err != nil {
		return nil, err
	}
	w := &worker{first: c.State.Pid, ended: make(chan struct{})}
	w.deliver = func(s syscall.Signal) { _ = e.API.ContainerKill(t.Context(), id, strconv.Itoa(int(s))) } // it may have ended
	go func() {
		defer close(w.ended)
		select {
		case end := <-ended:
			if end.StatusCode != 0 {
				w.err = fmt.Errorf("exit code %d", end.StatusCode)
			}
		case err := <-failed:
			w.err = err
		}
		w.err = errors.Join(w.err, t.clear(id, log))
	}()
	return w, nil
}

// clear removes the container of a worker that has ended, and keeps what it has said.
func (t *torment) clear(id, log string) error {
	ctx := context.WithoutCancel(t.Context())
	said, err := t.scene.engine.API.ContainerLogs(ctx, id, container.LogsOptions{ShowStdout: true, ShowStderr: true})
	if err != nil {
		return err
	}
	f, err := os.Create(log)
	if err == nil {
		_, err = stdcopy.StdCopy(f, f, said)
		err = errors.Join(err, f.Close())
	}
	return errors.Join(err, said.Close(), t.scene.engine.API.ContainerRemove(ctx, id, container.RemoveOptions{}))
}

// runContained runs a command to its end in a container.
func (t *torment) runContained(args ...string) error {
	log := filepath.Join(t.TempDir(), "log")
	w, err := t.contain(t.program, log, args...)
	if err != nil {
		return err
	}
	if err := w.waitFor(90 * time.Second); err != nil {
		w.signal(syscall.SIGQUIT) // it tells then what it is waiting for
		return errors.Join(err, w.waitFor(10*time.Second))
	}
	if w.err != nil {
		said, _ := os.ReadFile(log)
		return fmt.Errorf("backupd %s in a container: %w\n%s", strings.Join(args, " "), w.err, said)
	}
	return nil
}

// victim is a process, or a container by its first one, that can be killed.
type victim struct {
	pid  int
	kill func()
}

func process(pid int) victim {
	return victim{pid, func() { _ = syscall.Kill(pid, syscall.SIGKILL) }} // it may have ended
}

// guards are those that run.
func (t *torment) guards(r round) (all []victim, err error) {
	if !r.kind.contained() {
		for _, pid := range t.program.processes(true) {
			all = append(all, process(pid))
		}
		return all, nil
	}
	api := t.scene.engine.API
	list, err := api.ContainerList(t.Context(), container.ListOptions{Filters: filters.NewArgs(filters.Arg("label", engine.GuardLabel))})
	if err != nil {
		return nil, err
	}
	for _, one := range list {
		c, err := api.ContainerInspect(t.Context(), one.ID)
		switch {
		case err != nil || c.State.Pid == 0: // it has ended just now
		case r.asked:
			all = append(all, victim{c.State.Pid, func() { _ = api.ContainerKill(t.Context(), one.ID, "KILL") }})
		default:
			all = append(all, process(c.State.Pid))
		}
	}
	return all, nil
}
