package enginetest

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"strings"
	"time"

	"github.com/backupd/backupd/internal/engine"
)

func shell(script string) engine.Command { return engine.Command{Args: []string{"sh", "-c", script}} }

func (s *suite) execResult() {
	id := s.run(Spec{Name: "c"})
	for name, test := range map[string]struct {
		args     []string
		exit     int
		out, err string
	}{
		"success":           {[]string{"sh", "-c", "echo out; echo err >&2"}, 0, "out\n", "err\n"},
		"failure":           {[]string{"sh", "-c", "echo first; exit 3"}, 3, "first\n", ""},
		"arguments as such": {[]string{"echo", "a b", "$HOME", ";", ""}, 0, "a b $HOME ; \n", ""},
	} {
		var out, complaints bytes.Buffer
		exit, err := s.Engine.Exec(s.Context(), id, engine.Command{Args: test.args, Stdout: &out, Stderr: &complaints})
		s.must(err)
		if exit != test.exit || out.String() != test.out || complaints.String() != test.err {
			s.Errorf("%s: exit code %d, %q, %q", name, exit, &out, &complaints)
		}
	}
	var answer bytes.Buffer
	_, err := s.Engine.Exec(s.Context(), id, engine.Command{
		Args: []string{"sh", "-c", `echo "$ASKED"; id -u`}, Env: []string{"ASKED=an answer"}, User: "0", Stdout: &answer,
	})
	s.must(err)
	if answer.String() != "an answer\n0\n" {
		s.Errorf("with an environment and a user of its own it prints %q", &answer)
	}
	var words bytes.Buffer
	exit, err := s.Engine.Exec(s.Context(), id, engine.Command{Args: []string{"no-such-program"}, Stdout: &words, Stderr: &words})
	s.must(err)
	if exit != 126 && exit != 127 || !strings.Contains(words.String(), "no-such-program") {
		s.Errorf("a program that is not there: exit code %d, %q", exit, &words)
	}
}

func (s *suite) execInput() {
	id := s.run(Spec{Name: "c"})
	_, err := s.Engine.Exec(s.Context(), id, shell("cat")) // returns, as there is no input
	s.must(err)

	stdin := make(chan struct{})
	cmd := shell("echo ready; cat; echo over")
	cmd.Stdin = stdin
	var out bytes.Buffer
	cmd.Stdout = onWrite(func(p []byte) {
		if out.Write(p); out.String() == "ready\n" { // and not over, as the input has not ended
			close(stdin)
		}
	})
	_, err = s.Engine.Exec(s.Context(), id, cmd)
	s.must(err)
	if out.String() != "ready\nover\n" {
		s.Errorf("it printed %q", &out)
	}
}

// A command whose caller goes away gets the end of its input, and goes on.
func (s *suite) execGoesOn() {
	id := s.run(Spec{Name: "c"})
	folder := s.TempDir() // a path of this test alone, whatever the container has there
	mark := filepath.Join(folder, "mark")
	ctx, cancel := context.WithCancelCause(s.Context())
	why := errors.New("why")
	cmd := shell("echo ready; cat; mkdir -p " + folder + "; echo done >" + mark)
	cmd.Stdin = make(chan struct{})
	cmd.Stdout = onWrite(func([]byte) { cancel(why) })
	_, err := s.Engine.Exec(ctx, id, cmd)
	s.want(err, why, "exec")
	patient, cancelPatient := context.WithTimeout(s.Context(), 30*time.Second)
	defer cancelPatient()
	_, err = s.Engine.Exec(patient, id, shell("until test -s "+mark+"; do sleep 0.02; done"))
	s.must(err)
}

func (s *suite) execKilled() {
	id := s.run(Spec{Name: "c"})
	cmd := shell("trap '' TERM; echo ready; sleep 1000; sleep 1000")
	ended := make(chan error, 1)
	cmd.Stdout = onWrite(func([]byte) {
		go func() { ended <- s.Engine.Stop(s.Context(), id, 5*time.Second) }()
	})
	exit, err := s.Engine.Exec(s.Context(), id, cmd)
	s.must(err)
	if exit != killed {
		s.Errorf("exit code %d", exit)
	}
	s.must(<-ended)
}

func (s *suite) execState() {
	ctx, id := s.Context(), s.Create(Spec{Name: "c"})
	try := func(id string) error {
		_, err := s.Engine.Exec(ctx, id, shell("true"))
		return err
	}
	s.want(try(id), engine.ErrConflict, "in one that never ran")
	s.must(s.Engine.Start(ctx, id))
	s.must(s.Engine.Pause(ctx, id))
	s.want(try(id), engine.ErrConflict, "in one that is paused")
	s.must(s.Engine.Unpause(ctx, id))
	s.must(try(id))
	s.must(s.Engine.Stop(ctx, id, 5*time.Second))
	s.want(try(id), engine.ErrConflict, "in one that has ended")
	s.want(try(s.Name("absent")), engine.ErrNotFound, "in one that is not there")
	s.want(try("../"+id), engine.ErrNotFound, "under an address")
}

type onWrite func(p []byte)

func (w onWrite) Write(p []byte) (int, error) {
	w(p)
	return len(p), nil
}
