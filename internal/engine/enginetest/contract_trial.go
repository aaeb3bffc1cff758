package enginetest

import (
	"slices"
	"strings"
	"time"

	"github.com/backupd/backupd/internal/engine"
)

// trial makes one, and gives its id.
func (s *suite) trial(t engine.Trial) string {
	s.Helper()
	t.Name, t.Image = s.Name(t.Name), s.Image()
	id, err := s.Engine.CreateTrial(s.Context(), t)
	s.must(err)
	s.Cleanup(func() { s.Remove(id) })
	return id
}

func (s *suite) trialRuns() {
	ctx, v := s.Context(), s.volume("v")
	setup := engine.Setup{
		Entrypoint: []string{"sh", "-c"}, Command: []string{`echo a line; echo more; echo "$ASKED" >&2; exit 3`}, Env: []string{"ASKED=an answer"},
		Health: &engine.HealthCheck{Test: []string{"CMD", "true"}, Interval: time.Hour, Retries: 3}, Memory: 64 << 20, Shared: 32 << 20,
	}
	id := s.trial(engine.Trial{Name: "t", Labels: map[string]string{engine.HelperLabel: "me"}, Setup: setup, Volume: v.Name, At: "/v"})
	made, err := s.Engine.Container(ctx, id)
	s.must(err)
	if made.State != engine.Created || made.Labels[engine.HelperLabel] != "me" || len(made.Mounts) != 1 || made.Mounts[0].Volume != v.Name {
		s.Errorf("it was made as %+v", made)
	}
	if mounts, _ := made.Mounting(v); mounts {
		s.Error("it is taken for a user of its volume")
	}
	told, err := s.Engine.Setup(ctx, id)
	s.must(err)
	if !slices.Equal(told.Entrypoint, setup.Entrypoint) || !slices.Equal(told.Command, setup.Command) || !slices.Contains(told.Env, setup.Env[0]) ||
		told.Health == nil || told.Health.Interval != time.Hour || told.Memory != setup.Memory || told.Shared != setup.Shared {
		s.Errorf("its setup is told as %+v", told)
	}
	since := time.Now()
	s.must(s.Engine.Start(ctx, id))
	s.dies(id, since)
	ended, err := s.Engine.Container(ctx, id)
	s.must(err)
	if ended.State != engine.Exited || ended.Ending.Exit != 3 || ended.Ending.OutOfMemory {
		s.Errorf("it has ended as %s, %+v", ended.State, ended.Ending)
	}
	said, err := s.Engine.Logged(ctx, id, 100)
	s.must(err)
	for _, line := range []string{"a line\n", "more\n", "an answer\n"} {
		if !strings.Contains(said, line) {
			s.Errorf("of what it printed there is %q, without %q", said, line)
		}
	}
	if said, err = s.Engine.Logged(ctx, id, 1); err != nil || strings.Count(said, "\n") != 1 {
		s.Errorf("the last line is %q (%v)", said, err)
	}
}

// dies waits until a container has ended that was started since then.
func (s *suite) dies(id string, since time.Time) {
	s.Helper()
	for e, err := range s.Engine.Events(s.Context(), since.Add(-time.Second)) {
		s.must(err)
		if e.ID == id && e.Action == "die" {
			return
		}
	}
}

func (s *suite) trialNeedsItsImage() {
	ctx, v := s.Context(), s.volume("v")
	_, err := s.Engine.CreateTrial(ctx, engine.Trial{Name: s.Name("t"), Image: "backupd-test/absent", Volume: v.Name, At: "/v"})
	s.want(err, engine.ErrNotFound, "make a trial of an image that is not there")
	_, err = s.Engine.Image(ctx, "backupd-test/absent")
	s.want(err, engine.ErrNotFound, "look it up")
	if there, err := s.Engine.Image(ctx, s.Image()); err != nil || there.ID == "" {
		s.Errorf("of one that is there it tells %+v (%v)", there, err)
	}
	_, err = s.Engine.Setup(ctx, s.Name("absent"))
	s.want(err, engine.ErrNotFound, "ask how a container is started that is not there")
	_, err = s.Engine.Logged(ctx, s.Name("absent"), 1)
	s.want(err, engine.ErrNotFound, "read its log")
}
