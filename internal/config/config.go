// Package config reads the settings of this program from the environment, and is its only reader.
//
// It promises that a Config holds nothing that is wrong by itself, that everything that is wrong is told at once, each with the
// variable and how to mend it, and that no value which may be secret is repeated. What can only be found out by trying (a folder that
// cannot be written, a bucket that does not exist) is for whoever opens it.
package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/plan"
	"github.com/backupd/backupd/internal/quiesce"
	"github.com/backupd/backupd/internal/retention"
	"github.com/backupd/backupd/internal/schedule"
	"github.com/backupd/backupd/internal/seal"
)

// Config is all settings. Defaults and help texts are in the tags; "want" says, for values that their type does not check, what they must
// be.
type Config struct {
	Source       Source           `envconfig:"BACKUPD_SOURCE" default:"docker" desc:"where volumes are: docker, or dir for each folder in BACKUPD_VOLUMES_DIR"`
	VolumesDir   string           `envconfig:"BACKUPD_VOLUMES_DIR" want:"an absolute path" desc:"folder of volumes, with BACKUPD_SOURCE=dir"`
	Host         string           `envconfig:"BACKUPD_HOST" want:"a name of up to 255 bytes that can be printed" desc:"first folder on the target; without it the engine's name, or the machine's with BACKUPD_SOURCE=dir"`
	Targets      Targets          `envconfig:"BACKUPD_TARGETS" default:"local=file:///var/backups/backupd" desc:"where backups go: name=URL with commas in between; file:///folder, s3://bucket/prefix?endpoint=https://host&region=r&path-style=true, sftp://user@host/folder?identity=/path/of/key, webdavs://user@host/folder?password-file=/path or rclone:remote:path"`
	Policy       Policy           `envconfig:"BACKUPD_TARGETS_POLICY" default:"all" desc:"when a run is good: its snapshot is on all of a volume's targets, or on any; what a target missed is told and filled later either way"`
	Schedule     schedule.Spec    `envconfig:"BACKUPD_SCHEDULE" default:"@daily" desc:"when: cron with 5 or 6 fields, @daily, @every 6h; CRON_TZ=; H in a field spreads volumes"`
	Retention    retention.Policy `envconfig:"BACKUPD_RETENTION" default:"last=3 daily=7 weekly=4 monthly=6" desc:"which snapshots stay: last= hourly= daily= weekly= monthly= yearly= within=48h, or all"`
	Verify       Optional         `envconfig:"BACKUPD_VERIFY" default:"@weekly" desc:"when the daemon reads back what is stored and checks it: a schedule, or never"`
	Drill        Optional         `envconfig:"BACKUPD_DRILL" default:"never" desc:"when the daemon tries out the newest snapshot of each volume, by restoring it to a volume of its own, starting its containers on it and asking the database: a schedule, or never"`
	Quiesce      quiesce.Mode     `envconfig:"BACKUPD_QUIESCE" default:"pause" desc:"how containers hold still: pause, stop or none"`
	QuiesceLimit time.Duration    `envconfig:"BACKUPD_QUIESCE_LIMIT" default:"5m" want:"a time such as 90s, 5m or 1h30m, at most 24h" desc:"longest time that containers may be held"`
	Full         Full             `envconfig:"BACKUPD_FULL" default:"7d" desc:"longest time that archives lean on a full one, such as 7d, or always: what has not changed since is not read and not stored again"`
	Undo         time.Duration    `envconfig:"BACKUPD_UNDO" default:"72h" want:"a time such as 24h, or 0s for not at all" desc:"how long what a restore in place has replaced is kept, for undo; the next backup of the volume ends that, too"`
	Parallel     int              `envconfig:"BACKUPD_PARALLEL" default:"1" want:"a whole number from 1 to 64" desc:"jobs at once"`
	Compression  archive.Level    `envconfig:"BACKUPD_COMPRESSION" default:"fastest" desc:"none, fastest, default or better"`
	ReadLimit    Bytes            `envconfig:"BACKUPD_READ_LIMIT" desc:"most bytes read per second, such as 100MiB; without it no limit"`
	SpoolLimit   Bytes            `envconfig:"BACKUPD_SPOOL_LIMIT" desc:"most bytes that may wait on disk for slow targets, where no target is on a disk of this host; without it a fifth of the free space"`
	Recipients   seal.Recipients  `envconfig:"BACKUPD_AGE_RECIPIENTS" desc:"public keys that archives are encrypted to, each of which opens them: age1... or SSH, with commas or ends of lines in between; without it archives are not encrypted"`
	Identity     string           `envconfig:"BACKUPD_AGE_IDENTITY" desc:"file with the private key to encrypted archives, from age-keygen or ssh-keygen; only reading them takes it"`
	StateDir     string           `envconfig:"BACKUPD_STATE_DIR" default:"/var/lib/backupd" want:"an absolute path" desc:"folder for what is remembered, locks and spool"`
	Overrides    string           `envconfig:"BACKUPD_OVERRIDES" want:"an absolute path" desc:"file of labels for volumes that exist already"`
	LogLevel     slog.Level       `envconfig:"BACKUPD_LOG_LEVEL" default:"info" want:"debug, info, warn or error" desc:"debug, info, warn or error"`
	LogFormat    LogFormat        `envconfig:"BACKUPD_LOG_FORMAT" default:"auto" desc:"text, json, or auto for text on a terminal and JSON elsewhere"`

	set map[string]bool // names of variables that the environment gives a value to
}

// Source is where volumes are.
type Source string

// The sources.
const (
	Docker Source = "docker"
	Dir    Source = "dir"
)

// UnmarshalText reads the name of a source.
func (s *Source) UnmarshalText(text []byte) error { return oneOf(s, text, Docker, Dir) }

// Policy is on how many of a volume's targets a snapshot must come to lie for a run to be good.
type Policy string

// The policies.
const (
	All Policy = "all"
	Any Policy = "any"
)

// UnmarshalText reads the name of a policy.
func (p *Policy) UnmarshalText(text []byte) error { return oneOf(p, text, All, Any) }

// Optional is when something is done that may be left undone.
type Optional struct{ schedule.Spec } // the zero one is never

// UnmarshalText reads a schedule, or a word for never.
func (o *Optional) UnmarshalText(text []byte) (err error) {
	o.Spec, err = schedule.ParseOptional(string(text))
	return err
}

// Full is for how long archives may lean on a full one; 0 is not at all.
type Full time.Duration

// UnmarshalText reads a period, or a word for full archives alone.
func (f *Full) UnmarshalText(text []byte) error {
	word := strings.TrimSpace(string(text))
	if word == "always" {
		*f = 0
		return nil
	}
	period, err := retention.ParsePeriod(word)
	if err == nil && period <= 0 {
		err = errors.New("say always for full archives alone")
	}
	if err != nil {
		return fmt.Errorf("%s: %w", show(word), err)
	}
	*f = Full(period)
	return nil
}

// LogFormat is how the log is written.
type LogFormat string

// The formats. Auto is Text on a terminal and JSON elsewhere.
const (
	Auto LogFormat = "auto"
	Text LogFormat = "text"
	JSON LogFormat = "json"
)

// UnmarshalText reads the name of a format.
func (f *LogFormat) UnmarshalText(text []byte) error { return oneOf(f, text, Auto, Text, JSON) }

// Target is a place for backups.
type Target struct {
	Name string
	URL  *url.URL // without a password
}

// IsSet tells whether the environment gives a value to the variable.
func (c Config) IsSet(name string) bool { return c.set[name] }

// Defaults gives the settings of volumes that no label says anything about.
func (c Config) Defaults() plan.Settings {
	return plan.Settings{
		Schedule:  setting(c, "BACKUPD_SCHEDULE", c.Schedule),
		Retention: setting(c, "BACKUPD_RETENTION", c.Retention),
		Quiesce:   setting(c, "BACKUPD_QUIESCE", c.Quiesce),
		Limit:     setting(c, "BACKUPD_QUIESCE_LIMIT", c.QuiesceLimit),
		Targets:   setting(c, "BACKUPD_TARGETS", c.Targets.Names()),
		Exclude:   plan.Setting[[]string]{Origin: plan.Default},
		Group:     plan.Setting[string]{Origin: plan.Default},
		Drill:     setting(c, "BACKUPD_DRILL", c.Drill.Spec),
		DrillExec: plan.Setting[[]string]{Origin: plan.Default},
		DrillEnv:  plan.Setting[string]{Origin: plan.Default},
	}
}

func setting[T any](c Config, name string, value T) plan.Setting[T] {
	if c.IsSet(name) {
		return plan.Setting[T]{Value: value, Origin: plan.Environment}
	}
	return plan.Setting[T]{Value: value, Origin: plan.Default}
}
