package drill

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/snapshot"
)

// theatre is where containers run, and are asked.
type theatre interface {
	CreateTrial(ctx context.Context, t engine.Trial) (id string, err error)
	CopyInto(ctx context.Context, from, to, path string, most int64) error
	Start(ctx context.Context, id string) error
	Container(ctx context.Context, id string) (engine.Container, error)
	Logged(ctx context.Context, id string, lines int) (string, error)
	Exec(ctx context.Context, id string, cmd engine.Command) (exit int, err error)
}

// play is a stage with the data that is restored to its room.
type play struct {
	*Runner
	stage
	room   *room
	record *snapshot.Drill
	made   int // containers so far
}

// run starts the container, waits until it is well, and asks.
func (p *play) run(ctx context.Context, restored time.Time) error {
	if err := p.beforehand(ctx); err != nil {
		return err
	}
	if p.container == "" {
		if len(p.record.Checks) == 0 {
			p.noted(p.restoredWhole())
		}
		return nil
	}
	in, err := p.create(ctx, p.trial)
	if err == nil {
		p.bring(ctx, in)
		err = in.start(ctx)
	}
	if err != nil {
		return err
	}
	p.record.Started = append(p.record.Started, p.container)
	p.step("waiting for " + p.container)
	examiners := p.examiners(in)
	if err := p.await(ctx, in, examiners); err != nil {
		return p.nevertheless(err)
	}
	p.record.ReadyMS = p.Now().Sub(restored).Milliseconds()
	return p.examine(ctx, in, examiners)
}

// create makes a container in the room.
func (p *play) create(ctx context.Context, t engine.Trial) (console, error) {
	p.made++
	t.Name, t.Volume, t.Labels = fmt.Sprintf("%s-%d", p.room.name, p.made), p.room.name, p.room.labels().container
	id, err := p.Engine.CreateTrial(ctx, t)
	if err != nil {
		return console{}, err
	}
	return console{p.Engine, id, t.Env, p.Now}, nil
}

// mostBrought is how many bytes are copied of what is mounted at one path: configuration and secrets have less, data has more.
const mostBrought = 8 << 20

// bring copies to a new container what the one of today has from its host, so that nothing of the host is mounted. What cannot be had is lacking.
func (p *play) bring(ctx context.Context, in console) {
	for _, at := range p.binds {
		if err := p.Engine.CopyInto(ctx, p.from, in.id, at, mostBrought); err != nil {
			p.Log.Debug("a drill goes without", "path", at, "err", err)
			p.lacks = append(p.lacks, "what was mounted at "+at)
		}
	}
}

// Pauses between looks, and how long a container has to run to be taken for well that cannot be asked.
const (
	pause  = 250 * time.Millisecond
	steady = 5 * time.Second

	patience = time.Minute // with what is no database and may wait for the network that it has not
)

// await waits until the container is well: its own health check says so, and the databases answer; without either it has to run for a while.
func (p *play) await(ctx context.Context, in console, examiners []examiner) error {
	began, unanswered := p.Now(), ""
	for {
		c, err := p.Engine.Container(ctx, in.id)
		said := ""
		switch {
		case err != nil:
		case !c.Active():
			return p.ended(ctx, in, c)
		default:
			said, err = p.unwell(ctx, c, examiners, p.Now().Sub(began))
			if said != "" && err == nil && p.aside() && p.Now().Sub(began) > patience {
				return p.unfit(fmt.Sprintf("container %q was not well after %s: %s%s", p.container, patience, said, in.lastWords(ctx)))
			}
		}
		if ctx.Err() == nil { // else nothing of this can be believed
			if unanswered = said; err != nil || said == "" {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return p.late(ctx, in, unanswered)
		case <-time.After(pause):
		}
	}
}

// unwell says what is not as it should be yet of a container that runs, or "".
func (p *play) unwell(ctx context.Context, c engine.Container, examiners []examiner, ran time.Duration) (string, error) {
	if p.trial.Health != nil && c.Health != engine.Healthy {
		return "its health check says " + c.Health, nil
	}
	for _, e := range examiners {
		if said, err := e.answers(ctx); said != "" || err != nil {
			return said, err
		}
	}
	if p.trial.Health == nil && (len(examiners) == 0 || p.command != nil) && ran < steady {
		return "it has just been started", nil
	}
	return "", nil
}

// ended is the end of a container that should run.
func (p *play) ended(ctx context.Context, in console, c engine.Container) error {
	if c.Ending.OutOfMemory {
		return fmt.Errorf("container %q took more than the %d MiB of memory that it might: give it more with --memory", p.container, p.trial.Memory>>20)
	}
	return p.unfit(fmt.Sprintf("container %q ended with exit code %d%s", p.container, c.Ending.Exit, in.lastWords(ctx)))
}

// late is the end of the time, or of the patience of whoever asked. A database that takes long is none that is damaged.
func (p *play) late(ctx context.Context, in console, unanswered string) error {
	if late := errLate(0); !errors.As(context.Cause(ctx), &late) {
		return context.Cause(ctx)
	}
	return fmt.Errorf("%w: container %q was not well yet: %s%s", context.Cause(ctx), p.container, unanswered, in.lastWords(ctx))
}

// unfit says that what was started is not well. That tells something about the data only if it is a database's server, and had all that it had
// when it was backed up.
func (p *play) unfit(words string) error {
	if len(p.lacks) > 0 {
		words += "; it lacked " + strings.Join(p.lacks, ", ")
	}
	switch {
	case p.aside():
		return unsaid(words + "; it had no network, and is no database whose data could be to blame")
	case networked.MatchString(words):
		return errors.New(words + "; it had no network")
	case len(p.lacks) > 0 || !p.serves():
		return errors.New(words)
	}
	return verdict(words)
}

// networked is how programs say that they miss the network.
var networked = regexp.MustCompile(`(?i)name resolution|could not translate host name|getaddrinfo|no such host|name or service not known|unknown host|no route to host|network is unreachable|wsrep|gcomm`)

// aside tells whether what is started says little about the data: it is no database, and nothing is asked in it.
func (p *play) aside() bool { return !p.serves() && p.command == nil }

// unsaid is that something is not well which says little about the data.
type unsaid string

func (u unsaid) Error() string { return string(u) }

// nevertheless makes little of that: of files, and of what was asked by other means, it is proven that they come back.
func (p *play) nevertheless(err error) error {
	var little unsaid
	if !errors.As(err, &little) {
		return err
	}
	if len(p.record.Checks) == 0 {
		p.noted(p.restoredWhole())
	}
	p.noted(snapshot.Check{Of: "container", Asked: "start " + p.container, Answer: "not counted: " + string(little)})
	return nil
}

// restoredWhole is all that can be said of what nothing runs on.
func (p *play) restoredWhole() snapshot.Check {
	return snapshot.Check{
		Of: "files", Asked: "restore all of it, and compare every digest",
		Answer: "all came back as it was stored; " + p.unasked(),
	}
}

// unasked says why nothing more was asked.
func (p *play) unasked() string {
	switch {
	case len(p.databases) > 0:
	case p.container == "":
		return "no container is recorded that runs on it, and no database is recognised that could be asked"
	default:
		return "no database is recognised that could be asked"
	}
	return "drills do not know how to ask " + kinds(p.databases)
}

// examine asks all, and gives a verdict.
func (p *play) examine(ctx context.Context, in console, examiners []examiner) error {
	var broken error
	for _, e := range examiners {
		broken = errors.Join(broken, e.examine(ctx, func(c snapshot.Check) {
			p.step("asked " + c.Of + ": " + c.Asked)
			p.noted(c)
		}))
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if len(p.record.Checks) == 0 {
		p.noted(snapshot.Check{Of: "container", Asked: "start " + p.container, Answer: "it is well on what was restored; " + p.unasked()})
	}
	return p.judge(ctx, in, broken)
}

func (p *play) noted(c snapshot.Check) { p.record.Checks = append(p.record.Checks, c) }

// judge makes one verdict of all checks. A database that fell over is told with its last words, and is why a question was left open.
func (p *play) judge(ctx context.Context, in console, broken error) error {
	bad := p.bad()
	c, err := p.Engine.Container(ctx, in.id)
	if err != nil {
		return err
	}
	if !c.Active() {
		if c.Ending.OutOfMemory {
			return p.ended(ctx, in, c)
		}
		broken = nil
		bad = append(bad, fmt.Sprintf("container %q ended with exit code %d while it was asked%s", p.container, c.Ending.Exit, in.lastWords(ctx)))
	}
	if broken != nil {
		return broken
	}
	return verdictOf(bad)
}

// bad gives the checks that are not well, in words.
func (p *play) bad() (bad []string) {
	for _, c := range p.record.Checks {
		if c.Failed != "" {
			bad = append(bad, fmt.Sprintf("%s: %s: %s", c.Of, c.Asked, c.Failed))
		}
	}
	return bad
}

func verdictOf(bad []string) error {
	if len(bad) == 0 {
		return nil
	}
	return verdict(strings.Join(bad, "; "))
}
