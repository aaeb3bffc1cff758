package config

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/plan"
	"github.com/backupd/backupd/internal/quiesce"
)

// files is what can be read, by path.
type files map[string]string

func (f files) read(path string) ([]byte, error) {
	if content, ok := f[path]; ok {
		return []byte(content), nil
	}
	return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
}

func load(t *testing.T, environ ...string) Config {
	t.Helper()
	c, err := Load(environ, files{}.read)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestDefaults(t *testing.T) {
	c := load(t, "PATH=/bin", "HOST=not ours", "SOURCE=dir")
	if c.Source != Docker || c.Host != "" || c.StateDir != "/var/lib/backupd" || c.Parallel != 1 || c.Compression != archive.Fastest ||
		c.ReadLimit != 0 || c.SpoolLimit != 0 || c.LogLevel != slog.LevelInfo || c.LogFormat != Auto || c.Policy != All || c.Overrides != "" || !c.Recipients.None() || c.Identity != "" {
		t.Errorf("defaults are %+v", c)
	}
	d := c.Defaults()
	if d.Schedule.Value.String() != "@daily" || d.Retention.Value.String() != "last=3 daily=7 weekly=4 monthly=6" ||
		d.Quiesce.Value != quiesce.Pause || d.Limit.Value != 5*time.Minute || len(d.Targets.Value) != 1 || d.Targets.Value[0] != "local" {
		t.Errorf("defaults of volumes are %+v", d)
	}
	for name, origin := range map[string]plan.Origin{
		"schedule": d.Schedule.Origin, "retention": d.Retention.Origin, "quiesce": d.Quiesce.Origin, "limit": d.Limit.Origin,
		"targets": d.Targets.Origin, "exclude": d.Exclude.Origin, "group": d.Group.Origin,
	} {
		if origin != plan.Default {
			t.Errorf("%s comes from %s, want %s", name, origin, plan.Default)
		}
	}
	if got := c.Targets[0].URL.String(); got != "file:///var/backups/backupd" {
		t.Errorf("the target is %s", got)
	}
}

func TestEverythingCanBeSet(t *testing.T) {
	c := load(t,
		"BACKUPD_SOURCE=dir", "BACKUPD_VOLUMES_DIR=/volumes", "BACKUPD_HOST=web 1", "BACKUPD_SCHEDULE=H 3 * * *", "BACKUPD_RETENTION=all",
		"BACKUPD_TARGETS=nas=file:///mnt/nas, offsite=s3://bucket/a/b?endpoint=https://s3.example&region=eu-1&path-style=true",
		"BACKUPD_TARGETS_POLICY=any", "BACKUPD_VERIFY=H 5 * * 6", "BACKUPD_DRILL=off", "BACKUPD_UNDO=24h", "BACKUPD_FULL=2w",
		"BACKUPD_QUIESCE=none", "BACKUPD_QUIESCE_LIMIT=90s", "BACKUPD_PARALLEL=4", "BACKUPD_COMPRESSION=better", "BACKUPD_READ_LIMIT=100MiB",
		"BACKUPD_SPOOL_LIMIT=1.5GB", "BACKUPD_STATE_DIR=/state", "BACKUPD_OVERRIDES=/etc/overrides", "BACKUPD_LOG_LEVEL=debug", "BACKUPD_LOG_FORMAT=json",
		"BACKUPD_AGE_RECIPIENTS=age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p", "BACKUPD_AGE_IDENTITY=/etc/key")
	if c.Source != Dir || c.VolumesDir != "/volumes" || c.Host != "web 1" || c.StateDir != "/state" || c.Parallel != 4 ||
		c.Compression != archive.Better || c.ReadLimit != 100<<20 || c.SpoolLimit != 1_500_000_000 || c.LogLevel != slog.LevelDebug ||
		c.LogFormat != JSON || c.Overrides != "/etc/overrides" || c.Recipients.None() || c.Identity != "/etc/key" || c.Undo != 24*time.Hour || time.Duration(c.Full) != 14*24*time.Hour {
		t.Errorf("settings are %+v", c)
	}
	d := c.Defaults()
	if d.Schedule.Value.String() != "H 3 * * *" || d.Schedule.Origin != plan.Environment || d.Limit.Value != 90*time.Second || !d.Retention.Value.All {
		t.Errorf("defaults of volumes are %+v", d)
	}
	if diff := cmp.Diff([]string{"nas", "offsite"}, d.Targets.Value); diff != "" {
		t.Error("targets (-want +got):\n" + diff)
	}
	if u := c.Targets[1].URL; u.Host != "bucket" || u.Path != "/a/b" || u.Query().Get("endpoint") != "https://s3.example" {
		t.Errorf("the second target is %s", u)
	}
	if got := c.Verify.String(); got != "H 5 * * 6" {
		t.Errorf("verifying is scheduled %q", got)
	}
	for _, v := range Variables() {
		if !c.IsSet(v.Name) {
			t.Errorf("%s is not set here: this test should set all there are", v.Name)
		}
	}
}

func TestVerifyingCanBeTurnedOff(t *testing.T) {
	for value, want := range map[string]string{"": "@weekly", "never": "", "off": "", "@daily": "@daily"} {
		var environ []string
		if value != "" {
			environ = []string{"BACKUPD_VERIFY=" + value}
		}
		if got := load(t, environ...).Verify.String(); got != want {
			t.Errorf("%q is %q, want %q", value, got, want)
		}
	}
}

func TestTheDirSourceHoldsNothingByDefault(t *testing.T) {
	d := load(t, "BACKUPD_SOURCE=dir", "BACKUPD_VOLUMES_DIR=/volumes").Defaults()
	if d.Quiesce != (plan.Setting[quiesce.Mode]{Value: quiesce.None, Origin: plan.Default}) {
		t.Errorf("quiesce is %+v, want none by default", d.Quiesce)
	}
}

func TestValuesFromFiles(t *testing.T) {
	f := files{"/run/targets": "a=file:///secret-place\n", "/run/host": "web\r\n", "/run/lines": "web\n\n", "/run/empty": "\n", "/run/long": strings.Repeat("x", maxFile+1)}
	tests := map[string]struct {
		environ []string
		host    string
		err     string
	}{
		"one":                  {[]string{"BACKUPD_HOST_FILE=/run/host"}, "web", ""},
		"only one end of line": {[]string{"BACKUPD_HOST_FILE=/run/lines"}, "", `BACKUPD_HOST: "web\n" has characters that cannot be printed, or spaces around it`},
		"both":                 {[]string{"BACKUPD_HOST_FILE=/run/host", "BACKUPD_HOST=x"}, "", "BACKUPD_HOST: both it and BACKUPD_HOST_FILE are set: leave out one of them"},
		"none there":           {[]string{"BACKUPD_HOST_FILE=/run/none"}, "", "BACKUPD_HOST: read the file that BACKUPD_HOST_FILE names: file does not exist"},
		"a secret as its name": {[]string{"BACKUPD_TARGETS_FILE=secret"}, "", "BACKUPD_TARGETS: read the file that BACKUPD_TARGETS_FILE names: file does not exist"},
		"empty":                {[]string{"BACKUPD_HOST_FILE=/run/empty"}, "", "BACKUPD_HOST: it is set and empty: give it a value, or leave it out for the default"},
		"endless":              {[]string{"BACKUPD_HOST_FILE=/run/long"}, "", "BACKUPD_HOST: read the file that BACKUPD_HOST_FILE names: it has 65537 bytes, and at most 65536 are possible"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c, err := Load(tt.environ, f.read)
			if got := errorText(err); got != tt.err || c.Host != tt.host {
				t.Errorf("host is %q, error %q; want %q and %q", c.Host, got, tt.host, tt.err)
			}
		})
	}
	before := os.Environ()
	if _, err := Load([]string{"BACKUPD_TARGETS_FILE=/run/targets"}, f.read); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, os.Environ()); diff != "" {
		t.Error("the process's environment was changed (-before +after):\n" + diff)
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestBadSettings(t *testing.T) {
	const dir = "BACKUPD_SOURCE=dir,BACKUPD_VOLUMES_DIR=/v"
	tests := map[string]struct{ environ, want string }{ // environ with commas in between
		"empty":            {"BACKUPD_SCHEDULE=", "BACKUPD_SCHEDULE: it is set and empty: give it a value, or leave it out for the default"},
		"in quotes":        {`BACKUPD_SCHEDULE="@daily"`, "BACKUPD_SCHEDULE: the value is in quotes, which are part of it here: leave them out"},
		"zero byte":        {"BACKUPD_HOST=a\x00b", "BACKUPD_HOST: it holds a zero byte"},
		"unknown":          {"BACKUPD_SHEDULE=x", "BACKUPD_SHEDULE is unknown: did you mean BACKUPD_SCHEDULE?"},
		"unknown file":     {"BACKUPD_TARGET_FILE=x", "BACKUPD_TARGET_FILE is unknown: did you mean BACKUPD_TARGETS_FILE?"},
		"like nothing":     {"BACKUPD_XYZZY=x", "BACKUPD_XYZZY is unknown: the prefix BACKUPD_ is for the settings of backupd alone"},
		"prefix alone":     {"BACKUPD_=x", "BACKUPD_ is unknown: the prefix BACKUPD_ is for the settings of backupd alone"},
		"later":            {"BACKUPD_HTTP=7d", "BACKUPD_HTTP is not supported by this version: leave it out"},
		"later, in a file": {"BACKUPD_HTTP_FILE=/x", "BACKUPD_HTTP is not supported by this version: leave it out"},
		"like later":       {"BACKUPD_HTT=x", "BACKUPD_HTT is unknown: did you mean BACKUPD_HTTP?"},
		"source":           {"BACKUPD_SOURCE=podman", `BACKUPD_SOURCE: "podman" is unknown: choose one of [docker dir]`},
		"no key":           {"BACKUPD_AGE_RECIPIENTS=hunter2", "BACKUPD_AGE_RECIPIENTS: key 1 of the list: it is no public key: write age1..., as age-keygen prints it, or the line of an SSH key's .pub file"},
		"key for a path":   {"BACKUPD_AGE_IDENTITY=hunter2", "BACKUPD_AGE_IDENTITY: it is not the absolute path of a file: begin it with a slash, and put the key itself into that file; BACKUPD_AGE_IDENTITY_FILE would be a file that holds this path"},
		"log level":        {"BACKUPD_LOG_LEVEL=loud", `BACKUPD_LOG_LEVEL: "loud" is not debug, info, warn or error`},
		"log format":       {"BACKUPD_LOG_FORMAT=xml", `BACKUPD_LOG_FORMAT: "xml" is unknown: choose one of [auto text json]`},
		"not a number":     {"BACKUPD_PARALLEL=two", `BACKUPD_PARALLEL: "two" is not a whole number from 1 to 64`},
		"none at once":     {"BACKUPD_PARALLEL=0", `BACKUPD_PARALLEL: "0" is not a whole number from 1 to 64`},
		"thousands":        {"BACKUPD_PARALLEL=1000", `BACKUPD_PARALLEL: "1000" is not a whole number from 1 to 64`},
		"endless number":   {"BACKUPD_PARALLEL=" + strings.Repeat("9", 100), `BACKUPD_PARALLEL: "` + strings.Repeat("9", 80) + `"... is not a whole number from 1 to 64`},
		"limit":            {"BACKUPD_QUIESCE_LIMIT=5", `BACKUPD_QUIESCE_LIMIT: "5" is not a time such as 90s, 5m or 1h30m, at most 24h`},
		"limit of nothing": {"BACKUPD_QUIESCE_LIMIT=0s", `BACKUPD_QUIESCE_LIMIT: "0s" is no time that containers can be held for: write one such as 90s, 5m or 1h30m, at most 24h0m0s`},
		"bytes":            {"BACKUPD_READ_LIMIT=fast", `BACKUPD_READ_LIMIT: "fast" is not a number of bytes from 1 on, such as 500000, 100MiB or 1.5GB; for none leave it out`},
		"negative bytes":   {"BACKUPD_READ_LIMIT=-1M", `BACKUPD_READ_LIMIT: "-1M" is not a number of bytes from 1 on, such as 500000, 100MiB or 1.5GB; for none leave it out`},
		"no bytes":         {"BACKUPD_SPOOL_LIMIT=0", `BACKUPD_SPOOL_LIMIT: "0" is not a number of bytes from 1 on, such as 500000, 100MiB or 1.5GB; for none leave it out`},
		"too many bytes":   {"BACKUPD_SPOOL_LIMIT=8EiB", `BACKUPD_SPOOL_LIMIT: "8EiB" is not a number of bytes from 1 on, such as 500000, 100MiB or 1.5GB; for none leave it out`},
		"state directory":  {"BACKUPD_STATE_DIR=state", `BACKUPD_STATE_DIR: "state" is not an absolute path: begin it with a slash`},
		"overrides":        {"BACKUPD_OVERRIDES=./o", `BACKUPD_OVERRIDES: "./o" is not an absolute path: begin it with a slash`},
		"host":             {"BACKUPD_HOST=a\nb", `BACKUPD_HOST: "a\nb" has characters that cannot be printed, or spaces around it`},
		"long host":        {"BACKUPD_HOST=" + strings.Repeat("ü", 60), `BACKUPD_HOST: "` + strings.Repeat("ü", 40) + `"... takes 360 bytes on a target, percent-encoded, and at most 255 are possible`},
		"dir of nothing":   {"BACKUPD_SOURCE=dir", "BACKUPD_VOLUMES_DIR: with BACKUPD_SOURCE=dir it must name the folder whose folders are the volumes"},
		"dir of docker":    {"BACKUPD_VOLUMES_DIR=/v", "BACKUPD_VOLUMES_DIR: it needs BACKUPD_SOURCE=dir: set that too, or leave both out"},
		"dir, drilled":     {dir + ",BACKUPD_DRILL=@daily", "BACKUPD_DRILL: the dir source can start nothing: leave it out, or say never"},
		"dir, held":        {dir + ",BACKUPD_QUIESCE=pause", "BACKUPD_QUIESCE: the dir source can hold nothing: leave it out, or say none"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Load(strings.Split(tt.environ, ","), files{}.read)
			if got := errorText(err); got != tt.want {
				t.Errorf("error is\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

func TestBadSettingsOfOtherPackages(t *testing.T) {
	for _, setting := range []string{"BACKUPD_SCHEDULE=61 * * * *", "BACKUPD_RETENTION=dayly=1", "BACKUPD_QUIESCE=freeze", "BACKUPD_COMPRESSION=best"} {
		name, value, _ := strings.Cut(setting, "=")
		_, err := Load([]string{setting}, files{}.read)
		if got := errorText(err); !strings.HasPrefix(got, name+": ") || !strings.Contains(got, value) || strings.Contains(got, "envconfig") {
			t.Errorf("error is %q, want one about %s and %q", got, name, value)
		}
	}
}

func TestAllProblemsAreToldAtOnce(t *testing.T) {
	_, err := Load([]string{
		"BACKUPD_LOG_LEVEL=loud", "BACKUPD_SOURCE=podman", "BACKUPD_VOLUMES_DIR=x", "BACKUPD_TARGETS=a=ftp://b", "BACKUPD_PARALEL=2", "BACKUPD_HTTP=:80",
		"BACKUPD_HOST=", "BACKUPD_SCHEDULE=never",
	}, files{}.read)
	var got []string
	for line := range strings.Lines(errorText(err)) {
		name, _, _ := strings.Cut(line, " ")
		got = append(got, strings.TrimSuffix(name, ":"))
	}
	want := []string{
		"BACKUPD_HOST", "BACKUPD_HTTP", "BACKUPD_PARALEL", "BACKUPD_SOURCE", "BACKUPD_TARGETS", "BACKUPD_SCHEDULE", "BACKUPD_LOG_LEVEL", "BACKUPD_VOLUMES_DIR",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems with (-want +got):\n%s\nin full:\n%v", diff, err)
	}
}

func TestTheEnvironmentIsPutBack(t *testing.T) {
	t.Setenv("BACKUPD_HOST", "of the process")
	before := os.Environ()
	for _, environ := range [][]string{{"BACKUPD_HOST=of the test"}, {"BACKUPD_PARALLEL=two", "BACKUPD_LOG_LEVEL=loud"}, {}} {
		c, err := Load(environ, files{}.read)
		if c.Host == "of the process" {
			t.Errorf("Load(%q) read the process's environment (%v)", environ, err)
		}
	}
	if diff := cmp.Diff(before, os.Environ()); diff != "" {
		t.Error("the process's environment was changed (-before +after):\n" + diff)
	}
}

func TestAFileThatCannotBeRead(t *testing.T) {
	cause := errors.New("no luck")
	_, err := Load([]string{"BACKUPD_HOST_FILE=/x"}, func(string) ([]byte, error) { return nil, cause })
	if !errors.Is(err, cause) {
		t.Errorf("error is %v, want %v", err, cause)
	}
}

func TestVariablesAreDescribed(t *testing.T) {
	seen := map[string]bool{}
	for _, v := range Variables() {
		if !strings.HasPrefix(v.Name, prefix) || strings.HasSuffix(v.Name, fileSuffix) || v.Help == "" || seen[v.Name] {
			t.Errorf("variable %+v is not described as it should be", v)
		}
		seen[v.Name] = true
	}
}
