package snapshot_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/backupd/backupd/internal/snapshot"
)

func TestCredentialsInCommandLinesAreWithheld(t *testing.T) {
	const s = "hunter2"
	for name, args := range map[string][]string{
		"an argument after its name":    {"redis-server", "--requirepass", s, "--appendonly", "yes"},
		"one in the same word":          {"server", "--password=" + s},
		"of another name":               {"server", "--admin-token=" + s, "-api-key", s},
		"in a line for a shell":         {"sh", "-c", "exec redis-server --requirepass " + s + " --port 1"},
		"quoted in a line":              {"sh", "-c", `server --password "` + s + `"`},
		"a variable that is set":        {"sh", "-c", "PGPASSWORD=" + s + " psql -c 'select 1'"},
		"in an address":                 {"server", "postgres://joe:" + s + "@db/app"},
		"as MySQL's clients take it":    {"CMD-SHELL", "mysqladmin ping -uroot -p" + s},
		"as MariaDB's do":               {"CMD", "sh", "-c", "mariadb-admin -p" + s + " ping || exit 1"},
		"as Redis's client takes it":    {"CMD", "redis-cli", "-a", s, "ping"},
		"as it takes it in a line":      {"CMD-SHELL", "redis-cli -a " + s + " ping | grep PONG"},
		"in a configuration in a word":  {"redis-server", "requirepass " + s},
		"of a replica":                  {"redis-server", "--masterauth", s},
		"in an address in a shell line": {"sh", "-c", "run amqp://joe:" + s + "@mq:5672/ --now"},
	} {
		t.Run(name, func(t *testing.T) {
			public := snapshot.WithoutSecrets(args)
			if text := strings.Join(public, " "); strings.Contains(text, s) || !strings.Contains(text, snapshot.Withheld) {
				t.Errorf("of %q there is left %q", args, public)
			}
			back, err := snapshot.Complete(public, args)
			if err != nil || !slices.Equal(back, args) {
				t.Errorf("with what is used today it is %q (%v)", back, err)
			}
			if _, err := snapshot.Complete(public, append(slices.Clone(args), "--other")); !errors.Is(err, snapshot.ErrWithheld) {
				t.Errorf("another command line gave it back: %v", err)
			}
			if _, err := snapshot.Complete(public, nil); !errors.Is(err, snapshot.ErrWithheld) {
				t.Errorf("nothing gave it back: %v", err)
			}
		})
	}
}

func TestOtherArgumentsStayAsTheyAre(t *testing.T) {
	for name, args := range map[string][]string{
		"of a database":                  {"postgres", "-c", "shared_buffers=256MB", "-p", "5433"},
		"the file with a secret":         {"server", "--password-file=/run/secrets/db", "--token-path", "/x"},
		"a variable":                     {"sh", "-c", "redis-server --requirepass $REDIS_PASSWORD --port 1"},
		"a variable in the same word":    {"server", "--password=${DB_PASSWORD}"},
		"a variable as the next":         {"server", "--password", "$PASSWORD"},
		"a flag without a value":         {"server", "--use-token", "--port", "1"},
		"a port for another client":      {"psql", "-p5433"},
		"how passwords are encrypted":    {"postgres", "-c", "password_encryption=scram-sha-256"},
		"an address without a password":  {"server", "http://joe@host/", "http://host:80/"},
		"nothing":                        {},
		"an append-only file of a redis": {"redis-server", "--appendonly", "yes"},
	} {
		t.Run(name, func(t *testing.T) {
			if public := snapshot.WithoutSecrets(args); !slices.Equal(public, args) {
				t.Errorf("of %q there is left %q", args, public)
			}
			if back, err := snapshot.Complete(args, nil); err != nil || !slices.Equal(back, args) {
				t.Errorf("it is not complete: %q, %v", back, err)
			}
		})
	}
}
