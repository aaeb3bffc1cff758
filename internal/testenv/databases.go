package testenv

import (
	"os"
	"os/exec"
	"path/filepath"
)

// RedisImage is an image of this machine's Redis with its clients and checkers, that keeps an append-only file in /data.
func (d *Docker) RedisImage() string {
	d.t.Helper()
	busybox := Tool(d.t, "busybox")
	programs := []string{Tool(d.t, "redis-server"), Tool(d.t, "redis-cli"), Tool(d.t, "redis-check-aof"), Tool(d.t, "redis-check-rdb")}
	return d.Image("backupd-test/redis", []string{
		"ENV PATH=/usr/bin:/bin", "WORKDIR /data", `CMD ["redis-server", "--dir", "/data", "--appendonly", "yes", "--protected-mode", "no"]`,
	}, func(l *Layer) {
		shell(l, busybox)
		for _, name := range programs {
			l.Program(name)
		}
		l.Folder("/data", 0o755, 0)
	})
}

// RedisReady is what Redis prints when it answers.
const RedisReady = "Ready to accept connections"

const mariadb = "/usr/sbin/mariadbd"

// MariaDBImage is an image of this machine's MariaDB, with its data in /data, which MariaDBData has made. It listens on its usual socket.
func (d *Docker) MariaDBImage() string {
	d.t.Helper()
	busybox := Tool(d.t, "busybox")
	if _, err := os.Stat(mariadb); err != nil {
		Missing(d.t, "MariaDB", "run under test/means.sh")
	}
	return d.Image("backupd-test/mariadb", []string{
		"ENV PATH=/usr/sbin:/usr/bin:/bin",
		`CMD ["mariadbd", "--no-defaults", "--user=root", "--datadir=/data", "--socket=/run/mysqld/mysqld.sock", "--skip-networking", "--innodb-buffer-pool-size=32M"]`,
	}, func(l *Layer) {
		shell(l, busybox)
		for _, name := range []string{mariadb, "/usr/bin/mariadb", "/usr/bin/mariadb-check", "/usr/bin/mariadb-admin"} {
			l.Program(name)
		}
		l.Tree("/usr/share/mysql", "mysql-test", "docs", "bench")
		plugins, err := filepath.Glob("/usr/lib/mysql/plugin/auth_socket.so")
		l.err = err
		for _, name := range plugins {
			l.Program(name)
		}
		l.Folder("/run/mysqld", 0o755, 0)
		l.Folder("/data", 0o700, 0)
	})
}

// MariaDBReady is what MariaDB prints when it answers.
const MariaDBReady = "ready for connections"

// MariaDBData makes the data of a new server in a folder.
func (d *Docker) MariaDBData(dir string) {
	d.t.Helper()
	install := Tool(d.t, "mariadb-install-db")
	out, err := exec.Command(install, "--no-defaults", "--user=root", "--datadir="+dir, "--skip-test-db").CombinedOutput()
	if err != nil {
		d.t.Fatalf("mariadb-install-db: %v\n%s", err, out)
	}
}

// SQLiteImage is an image of a shell and the shell of SQLite, that waits until it is told to end.
func (d *Docker) SQLiteImage() string {
	d.t.Helper()
	busybox, sqlite := Tool(d.t, "busybox"), Tool(d.t, "sqlite3")
	return d.Image("backupd-test/sqlite", []string{"CMD [\"/bin/sh\", \"-c\", \"" + Wait + "\"]"}, func(l *Layer) {
		shell(l, busybox)
		l.Program(sqlite)
		l.Folder("/data", 0o755, 0)
	})
}
