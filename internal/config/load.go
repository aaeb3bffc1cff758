package config

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/kelseyhightower/envconfig"

	"github.com/backupd/backupd/internal/quiesce"
	"github.com/backupd/backupd/internal/spelling"
)

const (
	prefix     = "BACKUPD_"
	fileSuffix = "_FILE"
	maxFile    = 64 << 10 // bytes
)

// later gives the variables that are known and not supported yet.
func later() []string {
	return []string{
		"BACKUPD_HTTP",
	}
}

// Load reads the settings from an environment of "NAME=value", as os.Environ gives it, and from the files that NAME_FILE names.
// The error is all errors, joined.
//
// While it works it changes the process's environment, which is the only place where envconfig reads, and puts it back as it was.
func Load(environ []string, readFile func(path string) ([]byte, error)) (Config, error) {
	values, problems := gather(environ, readFile)
	c := Config{set: make(map[string]bool)}
	for name := range values {
		c.set[name] = true
	}
	bad, err := c.process(values)
	if err != nil {
		return Config{}, fmt.Errorf("read the environment: %w", err)
	}
	for _, v := range Variables() { // in the order in which they are documented
		if err, ok := bad[v.Name]; ok {
			problems = append(problems, fmt.Errorf("%s: %w", v.Name, err))
		}
	}
	problems = append(problems, c.check(bad)...)
	if err := errors.Join(problems...); err != nil {
		return Config{}, err
	}
	if c.Source == Dir && !c.IsSet("BACKUPD_QUIESCE") {
		c.Quiesce = quiesce.None // it can hold nothing
	}
	return c, nil
}

// gather collects the values of variables, those in files included.
func gather(environ []string, readFile func(string) ([]byte, error)) (values map[string]string, problems []error) {
	values = make(map[string]string)
	given := make(map[string]string)
	for _, entry := range environ {
		if name, value, _ := strings.Cut(entry, "="); strings.HasPrefix(name, prefix) {
			given[name] = value
		}
	}
	for _, v := range Variables() {
		value, direct := given[v.Name]
		path, inFile := given[v.Name+fileSuffix]
		delete(given, v.Name)
		delete(given, v.Name+fileSuffix)
		var err error
		switch {
		case direct && inFile:
			err = fmt.Errorf("both it and %s%s are set: leave out one of them", v.Name, fileSuffix)
		case inFile:
			if value, err = fromFile(path, readFile); err != nil {
				err = fmt.Errorf("read the file that %s%s names: %w", v.Name, fileSuffix, err)
			}
		case !direct:
			continue
		}
		if err == nil {
			err = checkRaw(value)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", v.Name, err))
			continue
		}
		values[v.Name] = value
	}
	return values, append(problems, unknown(given)...)
}

// fromFile does not repeat what is in the file, nor the path, which may be a secret that was put in the wrong variable.
func fromFile(path string, readFile func(string) ([]byte, error)) (string, error) {
	data, err := readFile(path)
	if err != nil {
		if cause := (*os.PathError)(nil); errors.As(err, &cause) {
			err = cause.Err
		}
		return "", err
	}
	if len(data) > maxFile {
		return "", fmt.Errorf("it has %d bytes, and at most %d are possible", len(data), maxFile)
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r"), nil
}

func checkRaw(value string) error {
	switch {
	case strings.TrimSpace(value) == "":
		return errors.New("it is set and empty: give it a value, or leave it out for the default")
	case strings.ContainsRune(value, 0):
		return errors.New("it holds a zero byte")
	case len(value) > 1 && value[0] == value[len(value)-1] && (value[0] == '"' || value[0] == '\''):
		return errors.New("the value is in quotes, which are part of it here: leave them out")
	}
	return nil
}

// unknown complains about what is left over.
func unknown(given map[string]string) (problems []error) {
	known := later()
	for _, v := range Variables() {
		known = append(known, v.Name)
	}
	for i := range known {
		known[i] = strings.TrimPrefix(known[i], prefix)
	}
	for name := range given {
		base := strings.TrimSuffix(name, fileSuffix)
		if slices.Contains(later(), base) {
			problems = append(problems, fmt.Errorf("%s is not supported by this version: leave it out", base))
			continue
		}
		mend := fmt.Sprintf("the prefix %s is for the settings of backupd alone", prefix)
		if nearest := spelling.Nearest(strings.TrimPrefix(base, prefix), known); nearest != "" {
			mend = "did you mean " + prefix + nearest + strings.TrimPrefix(name, base) + "?"
		}
		problems = append(problems, fmt.Errorf("%s is unknown: %s", name, mend))
	}
	slices.SortFunc(problems, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return problems
}

// process has envconfig fill c from values, and gives what was wrong with each.
func (c *Config) process(values map[string]string) (bad map[string]error, err error) {
	bad = make(map[string]error)
	restore, err := lend(values)
	defer func() { err = errors.Join(err, restore()) }()
	if err != nil {
		return nil, err
	}
	for {
		var wrong *envconfig.ParseError
		err := envconfig.Process("", c)
		if !errors.As(err, &wrong) {
			return bad, err
		}
		// It stops at the first bad value, and its own text repeats the value: note the cause, and go on with the default.
		if _, again := bad[wrong.KeyName]; again {
			return nil, fmt.Errorf("default of %s: %w", wrong.KeyName, wrong.Err)
		}
		bad[wrong.KeyName] = wrong.Err
		if want := tag(wrong.KeyName, "want"); want != "" {
			bad[wrong.KeyName] = fmt.Errorf("%s is not %s", show(values[wrong.KeyName]), want)
		}
		if err := os.Unsetenv(wrong.KeyName); err != nil {
			return nil, err
		}
	}
}

// lend makes the process's environment hold these values and no others of ours until restore is called.
func lend(values map[string]string) (restore func() error, err error) {
	var undo []func() error
	restore = func() error {
		var errs []error
		for _, u := range undo {
			errs = append(errs, u())
		}
		return errors.Join(errs...)
	}
	for _, v := range Variables() {
		if old, had := os.LookupEnv(v.Name); had {
			undo = append(undo, func() error { return os.Setenv(v.Name, old) })
		} else {
			undo = append(undo, func() error { return os.Unsetenv(v.Name) })
		}
		if value, ok := values[v.Name]; ok {
			err = os.Setenv(v.Name, value)
		} else {
			err = os.Unsetenv(v.Name)
		}
		if err != nil {
			return restore, err
		}
	}
	return restore, nil
}
