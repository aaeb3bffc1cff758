package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backupd/backupd/internal/targets/s3/s3test"
	"github.com/backupd/backupd/internal/testenv"
)

// shop is a project as its users have it: a database, and an application with files that belong to the rows.
const shop = `version: "2.4"
services:
  db:
    image: %s
    network_mode: none
    volumes: ["data:/data"]
  app:
    image: %s
    network_mode: none
    volumes: ["files:/files"]
    depends_on: [db]
volumes:
  data:
    labels: {backupd.enable: "true", backupd.group: shop}
  files:
    labels: {backupd.enable: "true", backupd.group: shop}
`

// A new engine, an empty state directory, the bucket and the key: what README says to type then is all that it takes.
func TestTheHostIsGone(t *testing.T) {
	server := s3test.Start(t)
	target := server.Bucket("gone")
	old, anew := testenv.NewOwnEngine(t), testenv.NewOwnEngine(t)
	writes, opened := newProgram(t, old.Docker).with("BACKUPD_HOST", "web1").with("BACKUPD_TARGETS", "offsite="+target.String()).encrypting()

	compose(t, old.Docker, "up", "-d")
	db := database{t, old.Docker, inspect(t, old.Docker, "shop_db_1").ID}
	old.WaitLog(db.id, testenv.PostgresReady)
	old.Exec(db.id, "pgbench", "-i", "-s", "5", "--quiet")
	db.ask("create extension amcheck")
	put(t, old.Docker, "shop_files", "invoice", "of the first customer")
	stop := db.load()
	before := db.transactions()
	writes.backup(0)
	must(t, stop())
	after := db.transactions()
	labels := labelsOf(t, old.Docker, "shop_data", "shop_files")
	compose(t, old.Docker, "down", "--volumes")

	said := typed(t, anew.Docker, map[string]string{
		"AWS_ACCESS_KEY_ID=...":                                      "AWS_ACCESS_KEY_ID=" + s3test.AccessKey,
		"AWS_SECRET_ACCESS_KEY=...":                                  "AWS_SECRET_ACCESS_KEY=" + s3test.SecretKey,
		"s3://bucket/prefix?endpoint=https://s3.example&region=eu-1": target.String(),
		"/root/backupd.key":                                          opened.setting("BACKUPD_AGE_IDENTITY"),
	})
	if !strings.Contains(said, "all volumes of this one moment") || strings.Contains(strings.ToLower(said), "warn") {
		t.Errorf("it says:\n%s", said)
	}
	if got := labelsOf(t, anew.Docker, "shop_data", "shop_files"); got != labels {
		t.Errorf("the volumes have the labels %s, and had %s", got, labels)
	}
	back := database{t, anew.Docker, inspect(t, anew.Docker, "shop_db_1").ID}
	anew.WaitLog(back.id, testenv.PostgresReady)
	back.check()
	if n := back.transactions(); n < before || n > after {
		t.Errorf("%d transactions are back; there were %d before the backup, and %d after it", n, before, after)
	}
	wantRunning(t, anew.Docker, "shop_app_1")
	if got := content(t, anew.Docker, "shop_files", "invoice"); got != "of the first customer" {
		t.Errorf("a file holds %q", got)
	}
}

// labelsOf are those of volumes, in words.
func labelsOf(t *testing.T, d *testenv.Docker, volumes ...string) (all string) {
	t.Helper()
	for _, name := range volumes {
		v, err := d.API.VolumeInspect(t.Context(), name)
		must(t, err)
		all += fmt.Sprint(v.Labels) // sorted
	}
	return all
}

// projectFolder is a folder named "shop", which names the project, with the compose file.
func projectFolder(t *testing.T, d *testenv.Docker) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "shop")
	must(t, os.Mkdir(dir, 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "docker-compose.yml"), fmt.Appendf(nil, shop, d.PostgresImage(), d.ShellImage()), 0o644))
	return dir
}

func compose(t *testing.T, d *testenv.Docker, args ...string) {
	t.Helper()
	c := exec.Command(testenv.Tool(t, "docker-compose"), args...)
	c.Dir, c.Env = projectFolder(t, d), append(os.Environ(), "DOCKER_HOST="+d.Host)
	if said, err := c.CombinedOutput(); err != nil {
		t.Fatalf("docker-compose %q: %v\n%s", args, err, said)
	}
}

// typed runs README's commands for a host that is gone, with what stands there for the sake of example replaced by what is meant. It gives
// all that they print.
func typed(t *testing.T, d *testenv.Docker, meant map[string]string) string {
	t.Helper()
	readme, err := os.ReadFile("../../README.md")
	must(t, err)
	_, rest, _ := strings.Cut(string(readme), "<!-- gone: begin -->\n")
	script, _, found := strings.Cut(rest, "<!-- gone: end -->\n")
	if n := strings.Count(script, "\n"); !found || n > 5 {
		t.Fatalf("README has %d commands for a host that is gone:\n%s", n, script)
	}
	for example, what := range meant {
		if !strings.Contains(script, example) {
			t.Errorf("README does not say %q", example)
		}
		script = strings.ReplaceAll(script, example, what)
	}
	c := exec.Command("sh", "-ec", script)
	c.Dir = projectFolder(t, d)
	for _, set := range os.Environ() {
		if !strings.HasPrefix(set, "AWS_ACCESS") && !strings.HasPrefix(set, "AWS_SECRET") && !strings.HasPrefix(set, "BACKUPD_") {
			c.Env = append(c.Env, set)
		}
	}
	c.Env = append(c.Env, "DOCKER_HOST="+d.Host, "BACKUPD_STATE_DIR="+t.TempDir(),
		"PATH="+filepath.Dir(binary(t))+":"+dockerWithCompose(t)+":"+os.Getenv("PATH"))
	said, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("what README says: %v\n%s", err, said)
	}
	return string(said)
}

// dockerWithCompose is a folder with a docker whose "compose" is Debian's, which has it as a program of its own.
func dockerWithCompose(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	script := "#!/bin/sh\n[ \"$1\" = compose ] && shift && exec " + testenv.Tool(t, "docker-compose") + " \"$@\"\nexec " + testenv.Tool(t, "docker") + " \"$@\"\n"
	must(t, os.WriteFile(filepath.Join(dir, "docker"), []byte(script), 0o755))
	return dir
}
