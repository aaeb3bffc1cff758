package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/backupd/backupd/internal/plan"
	"github.com/backupd/backupd/internal/quiesce"
	"github.com/backupd/backupd/internal/seal"
	"github.com/backupd/backupd/internal/snapshot"
)

// check finds what is wrong with values that could be read, each by itself and together. Of a variable that is bad already there is
// nothing more to say.
func (c *Config) check(bad map[string]error) (problems []error) {
	complain := func(name string, err error) {
		if _, told := bad[name]; err != nil && !told {
			problems = append(problems, fmt.Errorf("%s: %w", name, err))
		}
	}
	complain("BACKUPD_VOLUMES_DIR", absolute(c.VolumesDir))
	complain("BACKUPD_STATE_DIR", absolute(c.StateDir))
	complain("BACKUPD_OVERRIDES", absolute(c.Overrides))
	complain(seal.Setting, checkIdentity(c.Identity))
	complain("BACKUPD_HOST", checkHost(c.Host))
	if c.Parallel < 1 || c.Parallel > 64 {
		complain("BACKUPD_PARALLEL", fmt.Errorf("%q is not %s", strconv.Itoa(c.Parallel), tag("BACKUPD_PARALLEL", "want")))
	}
	if c.Undo < 0 {
		complain("BACKUPD_UNDO", fmt.Errorf("%q is not %s", c.Undo, tag("BACKUPD_UNDO", "want")))
	}
	_, err := plan.ParseLimit(c.QuiesceLimit.String())
	complain("BACKUPD_QUIESCE_LIMIT", err)

	if _, told := bad["BACKUPD_SOURCE"]; told {
		return problems
	}
	switch {
	case c.Source == Dir && c.VolumesDir == "":
		complain("BACKUPD_VOLUMES_DIR", errors.New("with BACKUPD_SOURCE=dir it must name the folder whose folders are the volumes"))
	case c.Source != Dir && c.VolumesDir != "":
		complain("BACKUPD_VOLUMES_DIR", errors.New("it needs BACKUPD_SOURCE=dir: set that too, or leave both out"))
	}
	if c.Source == Dir && c.Drill.String() != "" {
		complain("BACKUPD_DRILL", errors.New("the dir source can start nothing: leave it out, or say never"))
	}
	if c.Source == Dir && c.IsSet("BACKUPD_QUIESCE") && c.Quiesce != quiesce.None {
		complain("BACKUPD_QUIESCE", errors.New("the dir source can hold nothing: leave it out, or say none"))
	}
	return problems
}

func absolute(path string) error {
	if path != "" && !filepath.IsAbs(path) {
		return fmt.Errorf("%s is not an absolute path: begin it with a slash", show(path))
	}
	return nil
}

// checkIdentity repeats nothing: somebody may have taken the key for the path of its file.
func checkIdentity(path string) error {
	if path != "" && !filepath.IsAbs(path) {
		return fmt.Errorf("it is not the absolute path of a file: begin it with a slash, and put the key itself into that file; %s_FILE would be a "+
			"file that holds this path", seal.Setting)
	}
	return nil
}

func checkHost(host string) error {
	switch {
	case host != strings.TrimSpace(host) || strings.ContainsFunc(host, func(c rune) bool { return !strconv.IsPrint(c) }):
		return fmt.Errorf("%s has characters that cannot be printed, or spaces around it", show(host))
	case len(snapshot.Escape(host)) > snapshot.MaxName:
		return fmt.Errorf("%s takes %d bytes on a target, percent-encoded, and at most %d are possible", show(host), len(snapshot.Escape(host)), snapshot.MaxName)
	}
	return nil
}

// oneOf reads one of some words.
func oneOf[T ~string](into *T, text []byte, words ...T) error {
	if !slices.Contains(words, T(text)) {
		return fmt.Errorf("%s is unknown: choose one of %v", show(string(text)), words)
	}
	*into = T(text)
	return nil
}

// show quotes what may be long, or not fit for a terminal.
func show(s string) string {
	const most = 80
	if len(s) > most {
		return strconv.Quote(s[:most]) + "..."
	}
	return strconv.Quote(s)
}
