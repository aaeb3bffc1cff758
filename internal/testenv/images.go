package testenv

import (
	"os"
	"path/filepath"
)

// Wait is a shell's line that waits until the container is told to stop.
const Wait = "trap exit TERM; sleep 100000 & wait"

// ShellImage is an image with a shell and the usual commands, that waits for its end until told otherwise.
func (d *Docker) ShellImage() string {
	d.t.Helper()
	busybox := Tool(d.t, "busybox")
	return d.Image("backupd-test/shell", []string{"CMD [\"/bin/sh\", \"-c\", \"" + Wait + "\"]"}, func(l *Layer) { shell(l, busybox) })
}

func shell(l *Layer, busybox string) {
	l.Program(busybox)
	for _, name := range []string{"sh", "cat", "cp", "chmod", "chown", "dd", "echo", "head", "id", "ln", "ls", "mkdir", "mv", "od", "ps",
		"rm", "sleep", "stat", "sync", "tail", "tar", "test", "touch", "wc"} {
		l.Link("/bin/"+name, busybox)
	}
	l.Text("/etc/passwd", "root:x:0:0::/root:/bin/sh\npostgres:x:70:70::/data:/bin/sh\n", 0o644)
	l.Text("/etc/group", "root:x:0:\npostgres:x:70:\n", 0o644)
	l.Folder("/tmp", 0o1777, 0)
}

const postgres = "/usr/lib/postgresql/15"

// PostgresImage is an image of this machine's PostgreSQL 15, with its data in /data, that it makes at its first start. It listens on
// a socket in /tmp alone; psql, pgbench and pg_amcheck are in its PATH and need no more arguments. It has printed
// PostgresReady once it answers.
func (d *Docker) PostgresImage() string {
	d.t.Helper()
	busybox := Tool(d.t, "busybox")
	if _, err := os.Stat(postgres); err != nil {
		Missing(d.t, "PostgreSQL 15", "run under test/means.sh")
	}
	return d.Image("backupd-test/postgres", []string{
		"ENV PATH=" + postgres + "/bin:/bin:/usr/bin", "ENV LANG=C.UTF-8", "ENV TZ=UTC", "ENV PGHOST=/tmp", "ENV PGUSER=postgres", "ENV PGDATA=/data",
		"USER postgres", `CMD ["/bin/sh", "/start"]`,
	}, func(l *Layer) {
		shell(l, busybox)
		programs, err := filepath.Glob(postgres + "/bin/*")
		l.err = err
		for _, name := range programs {
			l.Program(name)
		}
		l.Tree(postgres+"/lib", "bitcode", "llvmjit*")
		l.Tree("/usr/share/postgresql/15", "man")
		l.Tree("/usr/lib/locale/C.utf8")
		l.File("/usr/share/zoneinfo/UTC")
		l.Folder("/data", 0o700, 70)
		l.Text("/start", startPostgres, 0o755)
	})
}

// PostgresReady is what PostgreSQL prints when it answers.
const PostgresReady = "database system is ready to accept connections"

// A server that initdb starts for itself prints the line above too, were it not sent elsewhere.
const startPostgres = `set -e
[ -s "$PGDATA/PG_VERSION" ] || initdb --auth=trust --username=postgres --locale=C.UTF-8 --encoding=UTF8 >/tmp/initdb.log
exec postgres -c unix_socket_directories=/tmp -c listen_addresses= -c jit=off "$@"
`
