package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"

	"github.com/backupd/backupd/internal/testenv"
)

// database is a PostgreSQL in a container, with the tables of pgbench: each of its transactions adds the same amount to an account,
// a teller, a branch and the history.
type database struct {
	t  *testing.T
	d  *testenv.Docker
	id string
}

// startDatabase starts PostgreSQL on a volume. It returns once the database answers, after it has recovered if need be.
func startDatabase(t *testing.T, d *testenv.Docker, name, volume string) database {
	t.Helper()
	db := database{t, d, d.Run(testenv.Container{
		Name:       name,
		Config:     container.Config{Image: d.PostgresImage()},
		HostConfig: container.HostConfig{Binds: []string{volume + ":/data"}},
	})}
	d.WaitLog(db.id, testenv.PostgresReady)
	return db
}

// newDatabase is one with tables of some MB.
func newDatabase(t *testing.T, d *testenv.Docker, name, volume string) database {
	t.Helper()
	db := startDatabase(t, d, name, volume)
	d.Exec(db.id, "pgbench", "-i", "-s", "5", "--quiet")
	db.ask("create extension amcheck")
	return db
}

func (db database) ask(sql string) string {
	db.t.Helper()
	return strings.TrimSpace(db.d.Exec(db.id, "psql", "-v", "ON_ERROR_STOP=1", "-Atc", sql))
}

// waitAnswer waits until a database answers that may have been started again.
func (db database) waitAnswer() {
	db.t.Helper()
	eventually(db.t, "PostgreSQL answers", func() bool {
		_, err := db.d.TryExec(db.id, "psql", "-Atc", "select 1")
		return err == nil
	})
}

// transactions is how many have been committed.
func (db database) transactions() int {
	db.t.Helper()
	n, err := strconv.Atoi(db.ask("select count(*) from pgbench_history"))
	if err != nil {
		db.t.Fatal(err)
	}
	return n
}

// work commits so many transactions.
func (db database) work(transactions int) {
	db.t.Helper()
	db.d.Exec(db.id, "pgbench", "-n", "-t", strconv.Itoa(transactions))
}

// load has pgbench work without a pause until stop, which gives the error of the first transaction that failed.
func (db database) load() (stop func() error) {
	db.t.Helper()
	result := make(chan error, 1)
	go func() {
		_, err := db.d.TryExec(db.id, "sh", "-ec", "while [ ! -e /tmp/enough ]; do pgbench -n -c 2 -T 1; done")
		result <- err
	}()
	eventually(db.t, "pgbench works", func() bool { return db.transactions() > 0 })
	return func() error {
		db.d.Exec(db.id, "touch", "/tmp/enough")
		return <-result
	}
}

// check fails the test unless tables and indexes are sound and all books agree.
func (db database) check() {
	db.t.Helper()
	db.d.Exec(db.id, "pg_amcheck", "--all", "--heapallindexed")
	books := db.ask(`select (select sum(abalance) from pgbench_accounts), (select sum(tbalance) from pgbench_tellers),
		(select sum(bbalance) from pgbench_branches), (select sum(delta) from pgbench_history)`)
	sums := strings.Split(books, "|")
	for _, sum := range sums {
		if sum != sums[0] || sum == "" {
			db.t.Errorf("accounts, tellers, branches and history do not agree: %s", books)
			return
		}
	}
}

// logged fails the test unless the database has printed something.
func (db database) logged(text string) {
	db.t.Helper()
	if log := db.d.Logs(db.id); !strings.Contains(log, text) {
		db.t.Errorf("PostgreSQL has not said %q, but:\n%s", text, log)
	}
}

func milliseconds(ms int64) string { return fmt.Sprintf("%d ms", ms) }
