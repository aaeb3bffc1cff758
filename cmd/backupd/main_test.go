package main

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/backupd/backupd/internal/targets/s3/s3test"
	"github.com/backupd/backupd/internal/targets/sftp/sftptest"
	"github.com/backupd/backupd/internal/targets/webdav/webdavtest"
	"github.com/backupd/backupd/internal/testenv"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"backupd": main})
}

// TestStories runs the scripts in testdata: each is a page of what somebody does with the program, and what comes of it. They work on
// folders (BACKUPD_SOURCE=dir); what takes an engine, S3 or the superuser has folders and tests of its own.
func TestStories(t *testing.T) { tell(t, "testdata", nil) }

// TestStoriesOfTheSuperuser mount file systems.
func TestStoriesOfTheSuperuser(t *testing.T) {
	testenv.Root(t)
	tell(t, "testdata/root", nil)
}

// TestStoriesOfFUSE mount snapshots.
func TestStoriesOfFUSE(t *testing.T) {
	testenv.FUSE(t)
	tell(t, "testdata/fuse", nil)
}

// TestStoriesOfFUSEOverS3 mount snapshots in a bucket of a server like that of TestStoriesOfS3.
func TestStoriesOfFUSEOverS3(t *testing.T) {
	testenv.FUSE(t)
	tell(t, "testdata/fuse/s3", withServer(t))
}

// TestStoriesOfS3 have a server at $ENDPOINT, with a bucket "bucket", and one "locking" that can lock objects; what it stores lies in
// $SERVER_DIR.
func TestStoriesOfS3(t *testing.T) {
	tell(t, "testdata/s3", withServer(t))
}

// TestStoriesOfALostServer has one of its own, and its process id to kill it.
func TestStoriesOfALostServer(t *testing.T) { tell(t, "testdata/s3lost", withServer(t)) }

func withServer(t *testing.T) map[string]string {
	server := s3test.Start(t)
	server.Bucket("bucket")
	server.LockingBucket("locking")
	return map[string]string{
		"ENDPOINT": server.Endpoint, "SERVER_DIR": server.Dir, "SERVER": strconv.Itoa(server.Process.Pid),
		"AWS_ACCESS_KEY_ID": s3test.AccessKey, "AWS_SECRET_ACCESS_KEY": s3test.SecretKey,
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull, "AWS_EC2_METADATA_DISABLED": "true",
	}
}

// TestStoriesOfRclone have a remote "nas", which is the disk of this machine.
func TestStoriesOfRclone(t *testing.T) {
	testenv.Tool(t, "rclone")
	tell(t, "testdata/rclone", map[string]string{"RCLONE_CONFIG": os.DevNull, "RCLONE_CONFIG_NAS_TYPE": "local"})
}

// TestStoriesOfSFTP have a server at $SERVER, a key $IDENTITY that it lets $LOGIN in with, and a file $KNOWN with the server's own.
func TestStoriesOfSFTP(t *testing.T) {
	server := sftptest.Start(t)
	tell(t, "testdata/sftp", map[string]string{
		"SERVER": server.Address, "LOGIN": server.URL("/").User.Username(), "IDENTITY": server.Identity, "KNOWN": server.KnownHosts,
	})
}

// TestStoriesOfWebDAV have a server at $SERVER, which lets "me" in with the password in $PASSWORD, and whose folder is $REMOTE.
func TestStoriesOfWebDAV(t *testing.T) {
	server := webdavtest.Start(t)
	tell(t, "testdata/webdav", map[string]string{"SERVER": server.Address, "PASSWORD": server.PasswordFile, "REMOTE": server.Dir})
}

// TestStoriesOfAnEngine have the private engine, an image of a shell, and names of their own.
func TestStoriesOfAnEngine(t *testing.T) {
	d := testenv.NewDocker(t)
	docker := testenv.Tool(t, "docker")
	tell(t, "testdata/engine", map[string]string{
		"DOCKER_HOST": d.Host, "IMAGE": d.ShellImage(), "DATA": d.Volatile("data"), "AGAIN": d.Volatile("again"), "LIVE": d.Volatile("live"),
		"ONE": d.Name("one"), "TWO": d.Name("two"), "DB": d.Name("db"), "ONCE": d.Name("once"), "DOCKER": docker,
		"SHOP": d.Name("shop"), "PAGES": d.Volatile("pages"), "FILES": d.Volatile("files"), "CACHE": d.Volatile("cache"), "TRIED": d.Volatile("tried"), "BARE": d.Volatile("bare"), "APP": d.Name("app"),
		"BACKUPD_SOURCE": "docker",
	})
}

// tell runs the scripts of a folder, with these variables beside those of every story.
func tell(t *testing.T, dir string, env map[string]string) {
	testscript.Run(t, testscript.Params{
		Dir:                 dir,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds:                words,
		Setup: func(e *testscript.Env) error {
			e.Setenv("TZ", "UTC")
			e.Setenv("BACKUPD_HOST", "web1")
			e.Setenv("BACKUPD_STATE_DIR", filepath.Join(e.WorkDir, "state"))
			e.Setenv("BACKUPD_TARGETS", "local=file://"+filepath.Join(e.WorkDir, "backups"))
			e.Setenv("BACKUPD_SOURCE", "dir")
			for name, value := range env {
				e.Setenv(name, value)
			}
			if e.Getenv("BACKUPD_SOURCE") != "dir" {
				return nil
			}
			e.Setenv("BACKUPD_VOLUMES_DIR", filepath.Join(e.WorkDir, "volumes"))
			return os.MkdirAll(filepath.Join(e.WorkDir, "volumes"), 0o755)
		},
	})
}
