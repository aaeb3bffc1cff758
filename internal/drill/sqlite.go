package drill

import (
	"context"
	"fmt"
	"path"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/recognise"
	"github.com/backupd/backupd/internal/snapshot"
)

// sqliteAsked is what is asked of each SQLite file.
const sqliteAsked = "PRAGMA integrity_check, PRAGMA foreign_key_check"

// sqliteFile asks a SQLite file. Images that use one rarely have a program to ask it with, so this program does, walled in like all else that
// looks at data which somebody may have made up.
func (p *play) sqliteFile(ctx context.Context, d recognise.Find) (snapshot.Check, error) {
	done := snapshot.Check{Of: string(d.Kind), Asked: sqliteAsked + " of " + path.Join(d.Folder, d.File)}
	began := p.Now()
	t, err := p.Checker.SQLite(ctx, path.Join(data, d.Folder, d.File))
	if err != nil {
		return done, fmt.Errorf("ask SQLite: %w", err)
	}
	t.At, t.Memory, t.PIDs = data, p.memory, mostProcesses
	exit, said, err := p.alone(ctx, t)
	done.TookMS = p.Now().Sub(began).Milliseconds()
	words := clipped(oneLine(said))
	switch {
	case err != nil:
	case exit == 0:
		done.Answer = words
	case exit == Damaged:
		done.Failed = words
	default:
		err = fmt.Errorf("SQLite file %s cannot be asked: %s: say with backupd.drill.exec how to ask it", path.Join(d.Folder, d.File), words)
	}
	return done, err
}

// Damaged is the exit code by which a Checker's containers say that what they looked at is.
const Damaged = 4

// data is where programs of our own have the volume.
const data = "/data"

// Checker gives containers of this program, which ask files.
type Checker interface {
	// SQLite gives one that asks a SQLite file, and ends with 0, or with Damaged, or with another exit code if it cannot ask.
	SQLite(ctx context.Context, file string) (engine.Trial, error)
}
