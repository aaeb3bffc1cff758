package quiesce

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/backupd/backupd/internal/durable"
	"github.com/backupd/backupd/internal/engine"
)

// journal is where a hold writes down what it is about to do, for whoever has to let go in its place. It is a file of JSON lines that the
// hold's process has locked, made with the first step and removed when all has been let go.
type journal struct {
	keeper *Keeper
	req    Request
	path   string
	log    *durable.Log // nil while there is nothing to write down
}

const (
	journalFormat = "backupd hold 1"
	journalEnd    = ".journal"
)

// line is one line of a journal: the first has a format, each other one of the rest.
type line struct {
	Format string    `json:"format,omitempty"`
	Engine string    `json:"engine,omitempty"`
	At     time.Time `json:"at"`

	Exchanged []string `json:"exchanged,omitempty"` // with the format: names of volumes whose content may be

	Hooks   *engine.Container `json:"hooks,omitempty"`   // is about to have its hooks run
	Step    *Step             `json:"step,omitempty"`    // is about to be carried out
	Settled *outcome          `json:"settled,omitempty"` // has been: no call is under way any more
	Started *run              `json:"started,omitempty"` // the run of a container that is held
}

type outcome struct {
	Container string `json:"container"`
	Ours      bool   `json:"ours"` // to let go
}

type run struct {
	Container string    `json:"container"`
	Began     time.Time `json:"began"`
}

func (k *Keeper) journal(of Request) *journal { return &journal{keeper: k, req: of} }

// intend writes a step down, for good, before it is carried out.
func (j *journal) intend(s Step) error {
	s.Container = recognisable(s.Container)
	return j.promise(line{Step: &s})
}

// hooks writes down, for good, that the container is owed its post-hook. Which that is, its label says.
func (j *journal) hooks(c engine.Container) error {
	c = recognisable(c)
	return j.promise(line{Hooks: &c})
}

func (j *journal) promise(l line) error {
	if j.log == nil {
		if err := j.begin(); err != nil {
			return err
		}
	}
	return j.write(l, true)
}

// recognisable is what letting go needs to know of a container: no mounts and networks, and of its labels, which may hold anything, only
// those of compose and swarm.
func recognisable(c engine.Container) engine.Container {
	c.Mounts, c.Networks, c.Published, c.Labels = nil, nil, nil, maps.Clone(c.Labels)
	maps.DeleteFunc(c.Labels, func(key, _ string) bool { return !strings.HasPrefix(key, "com.docker.") })
	return c
}

// settled says that the step was carried out, or that its container turned out to be somebody else's. Without that line letting go takes
// longer, and that is all.
func (j *journal) settled(s Step, ours bool) {
	j.hint(line{Settled: &outcome{s.Container.ID, ours}})
}

// started says which run of a container it is that is held.
func (j *journal) started(c engine.Container) { j.hint(line{Started: &run{c.ID, c.Started}}) }

// hint writes what only helps.
func (j *journal) hint(l line) {
	if err := j.write(l, false); err != nil {
		j.keeper.log.Warn("the journal of a hold could not be written", "err", err)
	}
}

func (j *journal) begin() error {
	if err := os.MkdirAll(j.keeper.dir, 0o700); err != nil {
		return fmt.Errorf("make the folder of holds: %w", err)
	}
	j.path = filepath.Join(j.keeper.dir, rand.Text()+journalEnd)
	log, err := durable.CreateLog(j.path)
	if err != nil {
		return err
	}
	j.log = log
	return j.write(line{Format: journalFormat, Engine: j.keeper.engine, Exchanged: j.req.exchanged()}, false) // what is synced later takes it along
}

func (j *journal) write(l line, sync bool) error {
	l.At = j.keeper.now().UTC()
	text, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	return j.log.Append(text, sync)
}

// finish removes the journal: all has been let go.
func (j *journal) finish() error {
	if j.log == nil {
		return nil
	}
	return durable.RemoveLog(j.path, j.log)
}

// leave leaves the journal for Recover.
func (j *journal) leave() error {
	if j.log == nil {
		return nil
	}
	return j.log.Close()
}

// errForeign marks a journal of another engine.
var errForeign = errors.New("it is of another engine")

// left is what a journal says is still to be done.
type left struct {
	held    []*held // in the order in which it was held
	hooked  []Hooked
	settles []string // volumes to put in order before

	pending time.Time // until then, a pre-hook may yet begin
}

// read gives what the lines of a journal say.
func (k *Keeper) read(lines [][]byte) (left, error) {
	var all left
	for i, text := range lines {
		var l line
		if err := json.Unmarshal(text, &l); err != nil {
			return left{}, fmt.Errorf("line %d: %w", i+1, err)
		}
		if i == 0 {
			if l.Format != journalFormat {
				return left{}, fmt.Errorf("its format is %q, not %q", l.Format, journalFormat)
			}
			if l.Engine != k.engine {
				return left{}, fmt.Errorf("%w (%q)", errForeign, l.Engine)
			}
			all.settles = l.Exchanged
			continue
		}
		if err := k.take(&all, l); err != nil {
			return left{}, fmt.Errorf("line %d: %w", i+1, err)
		}
	}
	return all, nil
}

// take adds what one line says.
func (k *Keeper) take(all *left, l line) error {
	switch {
	case l.Hooks != nil:
		if err := checkContainer(*l.Hooks); err != nil {
			return err
		}
		all.hooked = append(all.hooked, Hooked{Container: *l.Hooks})
		all.pending = k.atMost(l.At).Add(late)
	case l.Step != nil:
		s := *l.Step
		if err := s.check(); err != nil {
			return err
		}
		s.Container.Started = time.Time{}
		all.held = append(all.held, &held{Step: s, since: l.At, pending: k.unsettled(s, l.At), silent: true})
	case l.Settled != nil:
		for i, t := range all.held {
			if t.Container.ID == l.Settled.Container {
				t.pending, t.silent = time.Time{}, false
				if !l.Settled.Ours {
					all.held = append(all.held[:i:i], all.held[i+1:]...)
					return nil
				}
			}
		}
	case l.Started != nil:
		for _, t := range all.held {
			if t.Container.ID == l.Started.Container {
				t.Container.Started = l.Started.Began
			}
		}
	}
	return nil
}

// check refuses what no hold has written.
func (s Step) check() error {
	const most = 1 << 16
	switch {
	case s.How != Pause && s.How != Stop && s.How != Scale:
		return fmt.Errorf("%q is nothing that is done to a container", s.How)
	case s.How != Scale && s.Replicas > 0, s.Replicas > most:
		return fmt.Errorf("%q and %d tasks do not go together", s.How, s.Replicas)
	}
	return checkContainer(s.Container)
}

func checkContainer(c engine.Container) error {
	const longest = 255
	switch {
	case c.ID == "" || len(c.ID) > longest || strings.ContainsFunc(c.ID, notInID):
		return fmt.Errorf("%q is no id of a container", c.ID)
	case c.StopTimeout > 24*time.Hour:
		return fmt.Errorf("container %q takes %s to stop", c.Name, c.StopTimeout)
	}
	return nil
}

// notInID tells what an id does not consist of; it becomes a part of the engine's addresses.
func notInID(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-')
}

// unsettled is until when a step that began at a time, and whose caller is gone, may yet take effect. A clock that was set back does not
// make it longer than it can be.
func (k *Keeper) unsettled(s Step, at time.Time) time.Time {
	takes := late
	if s.How != Pause {
		takes += grace(s.Container)
	}
	if s.How == Scale {
		takes += dispatch
	}
	return k.atMost(at).Add(takes)
}

// atMost is a moment of the past, also when the clock was set back since.
func (k *Keeper) atMost(at time.Time) time.Time {
	if now := k.now(); at.After(now) {
		return now
	}
	return at
}
