package drill

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/recognise"
	"github.com/backupd/backupd/internal/snapshot"
)

// postgres asks a PostgreSQL server.
type postgres struct {
	in      console
	data    string // folder
	version string // major

	psql string   // path of the program; "" until it is found
	env  []string // by which its programs find the server
	user string   // of the container, who may connect
}

// folders are where images have the programs that are not on the PATH.
func (p *postgres) folders() []string {
	return []string{"/usr/lib/postgresql/" + p.version + "/bin", "/usr/local/bin", "/usr/pgsql-" + p.version + "/bin", "/opt/bitnami/postgresql/bin"}
}

func (p *postgres) answers(ctx context.Context) (string, error) {
	if p.psql == "" {
		psql, err := p.in.tool(ctx, "psql", p.folders()...)
		if err != nil {
			return err.Error(), nil
		}
		if p.psql = psql; psql == "" {
			return "", errors.New("the image has no psql to ask PostgreSQL with: say with backupd.drill.exec how to ask it")
		}
	}
	env, said := p.address(ctx)
	if said != "" {
		return said, nil
	}
	// The container's own user may be one whom the server does not know (peer authentication).
	for _, user := range []string{"", "postgres"} {
		exit, words, err := p.in.run(ctx, engine.Command{Args: []string{p.psql, "-Atc", "select 1"}, Env: env, User: user})
		if err == nil && exit == 0 {
			p.env, p.user = env, user
			return "", nil
		}
		if said == "" && err == nil {
			said = words.String()
		}
	}
	if shutOut.MatchString(said) {
		return "", locked(recognise.PostgreSQL, said)
	}
	return "it does not answer: " + said, nil
}

// shutOut is how servers say that they run, and that somebody may not come in, which does not get better by waiting.
var shutOut = regexp.MustCompile(`(?i)authentication failed|no pg_hba\.conf entry|role .* does not exist|no password supplied|Access denied for user`)

// locked is why a database cannot be asked that runs.
func locked(kind recognise.Kind, said string) error {
	return fmt.Errorf("%s runs and does not let anybody in who is known here: %s: give the variables with its user and password by an env-file, or say with backupd.drill.exec how to ask it", kind, said)
}

// address finds out where the server listens, from the file that it keeps beside its data (lines: process, folder, start, port, folder of
// the socket, address, shared memory, status).
func (p *postgres) address(ctx context.Context) (env []string, said string) {
	exit, text, err := p.in.run(ctx, engine.Command{Args: []string{"cat", path.Join(p.data, "postmaster.pid")}})
	env = []string{
		"PGUSER=" + cmp.Or(value(p.in.env, "PGUSER", "POSTGRES_USER", "POSTGRESQL_USERNAME"), "postgres"),
		"PGPASSWORD=" + value(p.in.env, "PGPASSWORD", "POSTGRES_PASSWORD", "POSTGRESQL_PASSWORD"),
		"PGDATABASE=template1",
		"PGCONNECT_TIMEOUT=5",
		"PGOPTIONS=-c client_min_messages=warning",
	}
	lines := text.lines()
	if err != nil || exit != 0 || len(lines) < 6 {
		return nil, "it has not begun to listen"
	}
	env = append(env, "PGPORT="+lines[3])
	if strings.HasPrefix(lines[4], "/") {
		return append(env, "PGHOST="+lines[4]), ""
	}
	return append(env, "PGHOST=127.0.0.1"), ""
}

func (p *postgres) examine(ctx context.Context, tell func(snapshot.Check)) error {
	whole, err := p.amcheck(ctx)
	if err == nil && whole.Asked == "" {
		whole, err = p.check(ctx, p.beside("pg_dumpall"), "--file=/dev/null")
		whole.Asked += " (reads all rows; the image has no pg_amcheck with its extension)"
	}
	if err != nil {
		return err
	}
	tell(whole)
	query, err := p.check(ctx, p.psql, "-Atc", "select count(*) || ' databases, ' || pg_size_pretty(sum(pg_database_size(oid))) from pg_database")
	if err == nil {
		tell(query)
	}
	return err
}

func (p *postgres) check(ctx context.Context, args ...string) (snapshot.Check, error) {
	return p.in.check(ctx, string(recognise.PostgreSQL), engine.Command{Args: args, Env: p.env, User: p.user})
}

// amcheck looks at every table and index, and that each row is in its indexes. Without the program or its extension it is no check.
func (p *postgres) amcheck(ctx context.Context) (snapshot.Check, error) {
	program, err := p.in.tool(ctx, "pg_amcheck", p.folders()...)
	if err != nil || program == "" {
		return snapshot.Check{}, err
	}
	done, err := p.check(ctx, program, "--all", "--install-missing", "--heapallindexed", "--parent-check")
	if strings.Contains(done.Failed, `extension "amcheck" is not available`) || strings.Contains(done.Failed, "could not open extension control file") {
		return snapshot.Check{}, err
	}
	if err == nil && done.Failed == "" {
		done.Answer = cmp.Or(done.Answer, "every table and index is sound")
	}
	return done, err
}

// beside is a program from the folder where psql is.
func (p *postgres) beside(name string) string { return path.Join(path.Dir(p.psql), name) }
