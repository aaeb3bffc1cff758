package recognise_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backupd/backupd/internal/recognise"
	"github.com/backupd/backupd/internal/testenv"
)

// run has a program make something in a folder, as a user that servers agree to be.
func run(t *testing.T, dir, program string, args ...string) {
	t.Helper()
	const nobody = 65534
	c := exec.Command(program, args...)
	c.Dir, c.Env = dir, append(os.Environ(), "HOME="+dir, "LC_ALL=C.UTF-8")
	if os.Geteuid() == 0 {
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", c, err, out)
	}
}

// reachable is a folder that any user can get at.
func reachable(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "recognise")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) }) // which is this test's own
	return dir
}

func TestRealDatabases(t *testing.T) {
	for kind, test := range map[recognise.Kind]struct {
		make func(t *testing.T, dir string)
		want []recognise.Find // without versions
	}{
		recognise.PostgreSQL: {makePostgreSQL, []recognise.Find{{Kind: recognise.PostgreSQL, Folder: "15/main"}}},
		recognise.MariaDB:    {makeMariaDB, []recognise.Find{{Kind: recognise.MariaDB, Folder: "."}}},
		recognise.Redis: {makeRedis, []recognise.Find{
			{Kind: recognise.Redis, Folder: ".", File: "appendonlydir/appendonly.aof.manifest"}, {Kind: recognise.Redis, Folder: ".", File: "dump.rdb"},
		}},
	} {
		t.Run(string(kind), func(t *testing.T) {
			dir := reachable(t)
			test.make(t, dir)
			got, err := recognise.Tree(t.Context(), os.DirFS(dir))
			if err != nil {
				t.Fatal(err)
			}
			for i := range got {
				t.Logf("%+v", got[i])
				got[i].Version = ""
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error("finds (-want +got):\n" + diff)
			}
		})
	}
}

func makePostgreSQL(t *testing.T, dir string) {
	run(t, dir, testenv.Tool(t, "/usr/lib/postgresql/15/bin/initdb"), "-D", "15/main")
}

func makeMariaDB(t *testing.T, dir string) {
	run(t, dir, testenv.Tool(t, "mariadb-install-db"), "--no-defaults", "--datadir="+dir, "--auth-root-authentication-method=normal")
}

// makeRedis has a server write both of its kinds of files.
func makeRedis(t *testing.T, dir string) {
	script := `redis-server --port 0 --unixsocket ` + filepath.Join(dir, "s") + ` --appendonly yes --daemonize no >/dev/null & ` +
		`until redis-cli -s s ping >/dev/null 2>&1; do :; done; redis-cli -s s set a b && redis-cli -s s save && redis-cli -s s shutdown; wait`
	testenv.Tool(t, "redis-cli")
	testenv.Tool(t, "redis-server")
	run(t, dir, "sh", "-c", script)
}
