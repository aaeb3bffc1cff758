package enginetest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/backupd/backupd/internal/engine"
)

func (s *suite) states() {
	ctx, id := s.Context(), s.Create(Spec{Name: "c"})
	for _, step := range []struct {
		name string
		call func() error
		want engine.State
	}{
		{"create", func() error { return nil }, engine.Created},
		{"stop what never ran", func() error { return s.Engine.Stop(ctx, id, time.Second) }, engine.Created},
		{"start", func() error { return s.Engine.Start(ctx, id) }, engine.Running},
		{"start again", func() error { return s.Engine.Start(ctx, id) }, engine.Running},
		{"pause", func() error { return s.Engine.Pause(ctx, id) }, engine.Paused},
		{"unpause", func() error { return s.Engine.Unpause(ctx, id) }, engine.Running},
		{"stop", func() error { return s.Engine.Stop(ctx, id, 5*time.Second) }, engine.Exited},
		{"stop again", func() error { return s.Engine.Stop(ctx, id, 5*time.Second) }, engine.Exited},
		{"start once more", func() error { return s.Engine.Start(ctx, id) }, engine.Running},
		{"pause once more", func() error { return s.Engine.Pause(ctx, id) }, engine.Paused},
		{"stop while paused", func() error { return s.Engine.Stop(ctx, id, 5*time.Second) }, engine.Exited},
	} {
		if err := step.call(); err != nil {
			s.Fatalf("%s: %v", step.name, err)
		}
		if got := s.state(id); got != step.want {
			s.Fatalf("%s: it is %s, want %s", step.name, got, step.want)
		}
	}
}

func (s *suite) wrongState() {
	ctx, id := s.Context(), s.Create(Spec{Name: "c"})
	s.want(s.Engine.Pause(ctx, id), engine.ErrConflict, "pause what never ran")
	s.want(s.Engine.Unpause(ctx, id), engine.ErrConflict, "unpause what never ran")
	s.must(s.Engine.Start(ctx, id))
	s.want(s.Engine.Unpause(ctx, id), engine.ErrConflict, "unpause what runs")
	s.must(s.Engine.Pause(ctx, id))
	s.want(s.Engine.Pause(ctx, id), engine.ErrConflict, "pause what is paused")
	s.want(s.Engine.Start(ctx, id), engine.ErrConflict, "start what is paused")
	s.must(s.Engine.Stop(ctx, id, 5*time.Second))
	s.want(s.Engine.Pause(ctx, id), engine.ErrConflict, "pause what has ended")
}

func (s *suite) fields() {
	labels := map[string]string{"com.docker.compose.project": "shop", "com.docker.compose.service": "db", "odd": "a=b\nc"}
	id := s.Create(Spec{Name: "c", Labels: labels, StopTimeout: 7 * time.Second})
	before, err := s.Engine.Container(s.Context(), id)
	s.must(err)
	if !before.Started.IsZero() {
		s.Errorf("it never ran, and started %s", before.Started)
	}
	s.must(s.Engine.Start(s.Context(), id))
	first, err := s.Engine.Container(s.Context(), s.Name("c")) // a name will do, too
	s.must(err)
	if first.ID != id || first.Name != s.Name("c") || !maps.Equal(first.Labels, labels) || first.Project() != "shop" || first.Service() != "db" ||
		first.StopTimeout != 7*time.Second || first.AutoRemove || first.Health != "" || first.Started.IsZero() {
		s.Errorf("inspected: %+v", first)
	}
	s.must(s.Engine.Stop(s.Context(), id, 5*time.Second))
	s.must(s.Engine.Start(s.Context(), id))
	second, err := s.Engine.Container(s.Context(), id)
	s.must(err)
	if !second.Started.After(first.Started) {
		s.Errorf("started again at %s, first at %s", second.Started, first.Started)
	}
	if other, err := s.Engine.Container(s.Context(), s.Create(Spec{Name: "plain"})); err != nil || other.StopTimeout != 10*time.Second {
		s.Errorf("without a stop time-out of its own: %v, %v", other.StopTimeout, err)
	}
}

func (s *suite) mounts() {
	v, other := s.volume("v"), s.volume("other")
	writer := s.run(Spec{Name: "writer", Mounts: []engine.Mount{{Volume: v.Name, Destination: "/data"}}})
	want := map[string]struct{ mounts, writes bool }{
		writer: {true, true},
		s.Create(Spec{Name: "reader", Mounts: []engine.Mount{{Volume: v.Name, Destination: "/data", ReadOnly: true}}}): {true, false},
		s.Create(Spec{Name: "sidecar", VolumesFrom: writer}):                                                           {true, true},
		s.Create(Spec{Name: "binder", Mounts: []engine.Mount{{Source: v.Mountpoint, Destination: "/x"}}}):              {true, true},
		s.Create(Spec{Name: "stranger", Mounts: []engine.Mount{{Volume: other.Name, Destination: "/data"}}}):           {false, false},
		s.Create(Spec{Name: "bare"}): {false, false},
		s.Create(Spec{Name: "helper", Labels: map[string]string{engine.HelperLabel: "owner"}, Mounts: []engine.Mount{{Volume: v.Name, Destination: "/data"}}}): {false, false},
	}
	all, err := s.Engine.Containers(s.Context())
	s.must(err)
	seen := 0
	for _, c := range all {
		w, ours := want[c.ID]
		if !ours {
			continue
		}
		seen++
		if mounts, writes := c.Mounting(v); mounts != w.mounts || writes != w.writes {
			s.Errorf("%s: mounts %t, writes %t, want %+v; %+v", c.Name, mounts, writes, w, c.Mounts)
		}
	}
	if seen != len(want) {
		s.Errorf("%d of %d containers were listed", seen, len(want))
	}
}

func (s *suite) autoRemove() {
	id := s.run(Spec{Name: "c", AutoRemove: true})
	c, err := s.Engine.Container(s.Context(), id)
	s.must(err)
	if !c.AutoRemove {
		s.Error("it does not show that a stop removes it")
	}
	ctx, cancel := context.WithTimeout(s.Context(), 30*time.Second)
	defer cancel()
	s.must(s.Engine.Stop(ctx, id, 5*time.Second))
	for e, err := range s.Engine.Events(ctx, c.Started) { // a stop returns before the removal is done
		s.must(err)
		if e.ID == id && e.Action == "destroy" {
			break
		}
	}
	_, err = s.Engine.Container(ctx, id)
	s.want(err, engine.ErrNotFound, "inspect it after the stop")
}

func (s *suite) eventsAreSeen() {
	v := s.volume("v")
	id := s.run(Spec{Name: "c", Labels: map[string]string{"colour": "blue"}, Mounts: []engine.Mount{{Volume: v.Name, Destination: "/v"}}})
	c, err := s.Engine.Container(s.Context(), id)
	s.must(err)
	ctx, cancel := context.WithTimeout(s.Context(), 30*time.Second)
	defer cancel()
	// The first round follows while things happen, the second asks for the past.
	s.must(s.Engine.Pause(ctx, id))
	for _, round := range []string{"following", "asking again"} {
		var seen []string
		for e, err := range s.Engine.Events(ctx, c.Started) {
			s.must(err)
			if e.Type != "container" || e.ID != id || !slices.Contains([]string{"pause", "unpause", "die", "start"}, e.Action) {
				continue
			}
			if e.Attributes["colour"] != "blue" || e.Attributes["name"] != c.Name || e.Time.Before(c.Started) {
				s.Errorf("%s: %+v", round, e)
			}
			if e.Action == "start" { // whether it is before or after the moment of starting is the engine's affair
				continue
			}
			seen = append(seen, e.Action)
			if round == "following" && e.Action == "pause" {
				s.must(s.Engine.Unpause(ctx, id))
				s.must(s.Engine.Stop(ctx, id, 5*time.Second))
			}
			if e.Action == "die" {
				break
			}
		}
		if want := []string{"pause", "unpause", "die"}; !slices.Equal(seen, want) {
			s.Errorf("%s: seen %q, want %q", round, seen, want)
		}
	}
}

func (s *suite) eventsEnd() {
	id := s.Create(Spec{Name: "c"})
	ctx, cancel := context.WithCancelCause(s.Context())
	defer cancel(nil)
	why := errors.New("why")
	var last error
	for e, err := range s.Engine.Events(ctx, time.Unix(0, 0)) {
		last = err
		if e.ID == id { // the stream is there
			cancel(why)
		}
	}
	if !errors.Is(last, why) {
		s.Errorf("the last was %v, want the cause of the context's end", last)
	}
}

func (s *suite) endedContext() {
	id := s.run(Spec{Name: "c"})
	ctx, cancel := context.WithCancelCause(s.Context())
	why := errors.New("why")
	cancel(why)
	_, err := s.Engine.Containers(ctx)
	s.want(err, why, "list containers")
	s.want(s.Engine.Pause(ctx, id), why, "pause")
	if got := s.state(id); got != engine.Running {
		s.Errorf("it is %s", got)
	}
}
