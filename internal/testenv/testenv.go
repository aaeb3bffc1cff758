// Package testenv gives tests the means that test/means.sh provides: a private engine, images for it, tools of the machine.
//
// A test whose means are missing says so in one uniform line that is counted, or fails where TEST_REQUIRE=all says that everything
// must run. Nothing here is part of the program.
package testenv

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Mark begins the line of every test that is not run for want of means.
const Mark = "NOT RUN:"

// Missing ends a test that cannot run because something is not there; why says where it would come from.
func Missing(t testing.TB, what string, why ...string) {
	t.Helper()
	line := Mark + " " + what + " is missing"
	if len(why) > 0 {
		line += " (" + strings.Join(why, " ") + ")"
	}
	if os.Getenv("TEST_REQUIRE") == "all" {
		t.Fatal(line)
	}
	t.Skip(line)
}

// Engine is the address of the private engine of the tests.
func Engine(t testing.TB) string {
	t.Helper()
	return variable(t, "TEST_DOCKER_HOST", "a private container engine")
}

// S3Server is the path of the program that serves S3 to tests.
func S3Server(t testing.TB) string {
	t.Helper()
	return variable(t, "TEST_VERSITYGW", "the S3 server of the tests")
}

func variable(t testing.TB, name, what string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		Missing(t, what, name+" is not set: run under test/means.sh")
	}
	return value
}

// Tool is the path of a program of this machine.
func Tool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		Missing(t, name, "run under test/means.sh")
	}
	return path
}

// Root ends a test that only the superuser can run.
func Root(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		Missing(t, "the superuser's power")
	}
}
