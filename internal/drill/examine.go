package drill

import (
	"context"
	"path"
	"slices"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/recognise"
	"github.com/backupd/backupd/internal/snapshot"
)

// examiner asks a database.
type examiner interface {
	// answers gives "" once the database answers, else what keeps it from it. An error says that it can never be asked.
	answers(ctx context.Context) (said string, err error)
	// examine asks all that there is to ask, and tells of each question. An error says that nobody knows the answer.
	examine(ctx context.Context, tell func(snapshot.Check)) error
}

// examiners are those of the databases that the container serves. A command that the user gave takes their place.
func (p *play) examiners(in console) (all []examiner) {
	if p.command != nil {
		return []examiner{&command{in, p.command}}
	}
	for _, d := range p.databases {
		at := path.Join(p.trial.At, d.Folder)
		switch d.Kind {
		case recognise.PostgreSQL:
			all = append(all, &postgres{in: in, data: at, version: d.Version})
		case recognise.MariaDB, recognise.MySQL:
			all = append(all, &mysql{in: in, kind: d.Kind})
		case recognise.Redis: // whose files are several finds
			if !slices.ContainsFunc(all, func(e examiner) bool { _, is := e.(*redis); return is }) {
				all = append(all, &redis{in: in, command: p.trial.Command})
			}
		}
	}
	return all
}

// command asks by what the user gave.
type command struct {
	in   console
	args []string
}

// answers leaves it to the container's health check to know when there is something to ask.
func (c *command) answers(context.Context) (string, error) { return "", nil }

func (c *command) examine(ctx context.Context, tell func(snapshot.Check)) error {
	done, err := c.in.check(ctx, "command", engine.Command{Args: c.args})
	if err == nil {
		done.Asked = "backupd.drill.exec" // and not what that says: there may be a secret in it
		tell(done)
	}
	return err
}
