package torture

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	postgres = "/usr/lib/postgresql/15/bin/"
	owner    = 70 // of the data, as the image has it
)

// books are sums that every transaction of pgbench changes by the same amount.
const books = `select (select sum(abalance) from pgbench_accounts), (select sum(tbalance) from pgbench_tellers),
	(select sum(bbalance) from pgbench_branches), (select sum(delta) from pgbench_history)`

// open restores a snapshot of the database, starts PostgreSQL on it, and is an error unless all is sound and the books agree.
func (p program) open(s snapshot) (err error) {
	dir, err := os.MkdirTemp("", "backupd-torture-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	data := filepath.Join(dir, "data")
	if _, err := p.run("restore", s.Volume+"@"+s.ID, "--to-dir", data); err != nil {
		return err
	}
	if err := errors.Join(os.Chown(data, owner, owner), os.Chmod(data, 0o700)); err != nil {
		return err
	}
	stop, err := serve(data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	return examine(data)
}

// serve starts PostgreSQL on a folder, as its owner, with its socket there. It need not be durable.
func serve(data string) (stop func() error, err error) {
	var log bytes.Buffer
	cmd := exec.Command(postgres+"postgres", "-D", data, "-k", data, "-c", "listen_addresses=", "-c", "fsync=off", "-c", "jit=off",
		"-c", "shared_buffers=16MB")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: owner, Gid: owner}}
	cmd.Env = append(os.Environ(), "LANG=C.UTF-8", "TZ=UTC")
	cmd.Dir, cmd.Stdout, cmd.Stderr = data, &log, &log
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		if _, err := ask(data, "select 1"); err == nil {
			return func() error {
				err := cmd.Process.Signal(syscall.SIGQUIT)
				<-ended // with an error, as it drops everything
				return err
			}, nil
		}
		select {
		case err := <-ended:
			return nil, fmt.Errorf("PostgreSQL does not start: %w\n%s", err, &log)
		default:
		}
		if time.Since(began) > time.Minute {
			return nil, fmt.Errorf("PostgreSQL does not answer: %w", errors.Join(cmd.Process.Kill(), <-ended))
		}
	}
}

func examine(data string) error {
	out, err := exec.Command(postgres+"pg_amcheck", "-h", data, "-U", "postgres", "--all", "--heapallindexed").CombinedOutput()
	if err != nil {
		return fmt.Errorf("pg_amcheck: %w\n%s", err, out)
	}
	answer, err := ask(data, books)
	if err != nil {
		return err
	}
	sums := strings.Split(answer, "|")
	for _, sum := range sums {
		if sum == "" || sum != sums[0] {
			return fmt.Errorf("accounts, tellers, branches and history do not agree: %s", answer)
		}
	}
	return nil
}

func ask(data, sql string) (string, error) {
	out, err := exec.Command(postgres+"psql", "-h", data, "-U", "postgres", "-v", "ON_ERROR_STOP=1", "-Atc", sql).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("psql: %w\n%s", err, out)
	}
	return strings.TrimSpace(string(out)), nil
}
