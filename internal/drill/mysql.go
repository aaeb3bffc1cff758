package drill

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/recognise"
	"github.com/backupd/backupd/internal/snapshot"
)

// mysql asks a MariaDB or MySQL server.
type mysql struct {
	in   console
	kind recognise.Kind

	client string         // path; "" until it is found
	as     engine.Command // who may connect and how, once that is known: a command without its program
}

func (m *mysql) tool(ctx context.Context, names ...string) (string, error) {
	for _, name := range names {
		path, err := m.in.tool(ctx, name, "/usr/local/mysql/bin", "/opt/bitnami/mariadb/bin", "/opt/bitnami/mysql/bin")
		if err != nil || path != "" {
			return path, err
		}
	}
	return "", nil
}

func (m *mysql) answers(ctx context.Context) (string, error) {
	if m.client == "" {
		client, err := m.tool(ctx, "mariadb", "mysql")
		if err != nil {
			return err.Error(), nil
		}
		if m.client = client; client == "" {
			return "", fmt.Errorf("the image has no client to ask %s with: say with backupd.drill.exec how to ask it", m.kind)
		}
	}
	var first string
	for _, as := range m.ways() {
		exit, said, err := m.in.run(ctx, with(as, m.client, "--batch", "--skip-column-names", "--execute=select 1"))
		switch {
		case err != nil:
			return err.Error(), nil
		case exit == 0:
			m.as = as
			return "", nil
		}
		first = cmp.Or(first, said.String())
	}
	if shutOut.MatchString(first) {
		return "", locked(m.kind, first)
	}
	return "it does not answer: " + first, nil
}

// ways are those in which it may let somebody in: who is root on the machine, by the socket; with root's password; with that of the user whom
// the image's variables name.
func (m *mysql) ways() (all []engine.Command) {
	way := func(user, password string, args ...string) {
		c := engine.Command{Args: append(args, "--user="+user), User: "0"}
		if password != "" {
			c.Env = []string{"MYSQL_PWD=" + password}
		}
		all = append(all, c)
	}
	env := m.in.env
	root := value(env, "MARIADB_ROOT_PASSWORD", "MYSQL_ROOT_PASSWORD")
	way("root", root)
	way("root", root, "--protocol=tcp", "--host=127.0.0.1")
	if user := value(env, "MARIADB_USER", "MYSQL_USER"); user != "" {
		way(user, value(env, "MARIADB_PASSWORD", "MYSQL_PASSWORD"))
	}
	return all
}

// with makes a command of a way to connect.
func with(as engine.Command, program string, args ...string) engine.Command {
	as.Args = append(append([]string{program}, as.Args...), args...)
	return as
}

func (m *mysql) examine(ctx context.Context, tell func(snapshot.Check)) error {
	checker, err := m.tool(ctx, "mariadb-check", "mysqlcheck")
	if err != nil {
		return err
	}
	if checker != "" {
		unwell := &head{unless: func(line string) bool { return strings.HasSuffix(line, " OK") }}
		done, err := m.in.checkTo(ctx, string(m.kind), with(m.as, checker, "--check", "--all-databases"), unwell)
		if err != nil {
			return err
		}
		tell(checked(done))
	}
	query, err := m.in.check(ctx, string(m.kind), with(m.as, m.client, "--batch", "--skip-column-names",
		"--execute=select concat(version(), ', ', count(*), ' tables') from information_schema.tables"))
	if err == nil {
		tell(query)
	}
	return err
}

// checked reads what the checker says of all but the tables that are well; its exit code is 0 as a rule, whatever it found.
func checked(done snapshot.Check) snapshot.Check {
	found := done.Answer
	switch {
	case done.Failed != "":
	case strings.Contains(strings.ToLower(found), "error") || strings.Contains(strings.ToLower(found), "corrupt"):
		done.Failed, done.Answer = found, ""
	default:
		done.Answer = strings.TrimSuffix("every table is sound; "+found, "; ")
	}
	return done
}
