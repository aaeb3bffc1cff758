package enginetest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/engine/enginetest"
	"github.com/backupd/backupd/internal/faulttest"
)

func TestFakeIsAnEngine(t *testing.T) {
	enginetest.Run(t, func(t *testing.T) enginetest.Env {
		f := enginetest.New(t)
		f.AddImage(engine.Image{ID: "shell"})
		f.Trial = trial
		return enginetest.Env{
			Engine: f,
			Name:   func(name string) string { return name },
			Create: func(s enginetest.Spec) string {
				c := enginetest.Container{Exec: onThisMachine, Container: engine.Container{
					Name: s.Name, Labels: s.Labels, State: engine.Created, StopTimeout: s.StopTimeout, AutoRemove: s.AutoRemove, Mounts: s.Mounts,
				}}
				if s.VolumesFrom != "" {
					from, err := f.Container(t.Context(), s.VolumesFrom)
					if err != nil {
						t.Fatal(err)
					}
					c.Mounts = append(c.Mounts, from.Mounts...)
				}
				return f.AddContainer(c).ID
			},
			Image:  func() string { return "shell" },
			Remove: f.RemoveContainer,
			Service: func(s enginetest.ServiceSpec) string {
				made := engine.Service{Name: s.Name, Replicas: s.Replicas, StopTimeout: s.StopTimeout}
				if s.Global {
					made.Kind = engine.Global
				}
				return f.AddService(made, enginetest.Container{Container: engine.Container{Mounts: s.Mounts}}).ID
			},
		}
	})
}

// onThisMachine runs what is to be run in a container of the fake.
func onThisMachine(ctx context.Context, cmd engine.Command) int {
	run := exec.CommandContext(ctx, cmd.Args[0], cmd.Args[1:]...)
	run.Stdout, run.Stderr = cmd.Stdout, cmd.Stderr
	run.Env = append(os.Environ(), cmd.Env...)
	run.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	run.Cancel = func() error { return syscall.Kill(-run.Process.Pid, syscall.SIGKILL) } // its children with it
	stdin, err := run.StdinPipe()
	if err == nil {
		err = run.Start()
	}
	if err != nil {
		fmt.Fprintln(cmd.Stdout, err)
		return 127
	}
	go func() {
		<-cmd.Stdin
		_ = stdin.Close() // at most the command has ended already
	}()
	_ = run.Wait() // says no more than the exit code
	return run.ProcessState.ExitCode()
}

// trial is one whose command is run on this machine, and has ended when it has been started.
func trial(t engine.Trial) enginetest.Container {
	c := enginetest.Container{}
	run := exec.Command(t.Entrypoint[0], append(t.Entrypoint[1:], t.Command...)...)
	run.Env = t.Env
	out, _ := run.CombinedOutput() // the exit code says how it went
	c.Log = string(out)
	c.OnStart = func(c *engine.Container) {
		c.State, c.Ending.Exit = engine.Exited, run.ProcessState.ExitCode()
	}
	return c
}

func TestOnlyARunningContainerWorks(t *testing.T) {
	f := enginetest.New(t)
	v := f.AddVolume(engine.Volume{Name: "v"})
	file := filepath.Join(v.Mountpoint, "log")
	c := f.AddContainer(enginetest.Container{
		Container: engine.Container{Mounts: []engine.Mount{{Volume: "v"}}},
		Work: func() {
			w, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := w.WriteString("x"); err != nil {
				t.Error(err)
			}
			if err := w.Close(); err != nil {
				t.Error(err)
			}
		},
	})
	for _, step := range []struct {
		call func(context.Context, string) error
		want string
	}{
		{func(context.Context, string) error { return nil }, "x"},
		{f.Pause, "x"},
		{f.Unpause, "xx"},
		{func(ctx context.Context, id string) error { return f.Stop(ctx, id, 0) }, "xx"},
	} {
		if err := step.call(t.Context(), c.ID); err != nil {
			t.Fatal(err)
		}
		f.Step()
		if got, err := os.ReadFile(file); err != nil || string(got) != step.want {
			t.Fatalf("written: %q, %v, want %q", got, err, step.want)
		}
	}
	if c.Mounts[0].Source != v.Mountpoint {
		t.Errorf("the mount's source is %q", c.Mounts[0].Source)
	}
}

func TestFaultsConcernOneCall(t *testing.T) {
	for kind, want := range map[faulttest.Kind]engine.State{faulttest.Before: engine.Running, faulttest.After: engine.Paused} {
		f := enginetest.New(t)
		f.Faults = &faulttest.Injector{At: 2, Kind: kind}
		c := f.AddContainer(enginetest.Container{})
		if _, err := f.Containers(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := f.Pause(t.Context(), c.ID); !errors.Is(err, faulttest.ErrInjected) {
			t.Errorf("%s: %v", kind, err)
		}
		if c, err := f.Operator().Container(t.Context(), c.ID); err != nil || c.State != want {
			t.Errorf("%s: the container is %s, %v", kind, c.State, err)
		}
		if got := f.Faults.Calls(); !slices.Equal(got, []string{"list containers", "pause container " + c.ID}) {
			t.Errorf("%s: counted %q", kind, got)
		}
	}
}

func TestRecreatedContainerHasAnotherID(t *testing.T) {
	f := enginetest.New(t)
	old := f.AddContainer(enginetest.Container{Container: engine.Container{Name: "db", Labels: map[string]string{"a": "b"}}})
	if err := f.Pause(t.Context(), old.ID); err != nil {
		t.Fatal(err)
	}
	f.Recreate(old.ID)
	if _, err := f.Container(t.Context(), old.ID); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("the old one: %v", err)
	}
	if c, err := f.Container(t.Context(), "db"); err != nil || c.ID == old.ID || c.State != engine.Running || c.Labels["a"] != "b" || !c.Started.After(old.Started) {
		t.Errorf("the new one: %+v, %v", c, err)
	}
}

func TestAnEngineThatGoesDownBreaksItsStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := enginetest.New(t)
		c := f.AddContainer(enginetest.Container{})
		ended := make(chan error)
		go func() {
			var last error
			for _, last = range f.Events(t.Context(), time.Time{}) {
			}
			ended <- last
		}()
		synctest.Wait()
		f.Down()
		if err := <-ended; !errors.Is(err, engine.ErrUnreachable) {
			t.Errorf("the stream ended with %v", err)
		}
		if err := f.Pause(t.Context(), c.ID); !errors.Is(err, engine.ErrUnreachable) {
			t.Errorf("pause: %v", err)
		}
		f.Up()
		if err := f.Pause(t.Context(), c.ID); err != nil {
			t.Error(err)
		}
	})
}
