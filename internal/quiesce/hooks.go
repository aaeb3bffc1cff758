package quiesce

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/backupd/backupd/internal/engine"
)

// Labels of a container that ask for commands to be run in it.
const (
	HookPre     = "backupd.hook.pre"
	HookDuring  = "backupd.hook.during"
	HookPost    = "backupd.hook.post"
	HookTimeout = "backupd.hook.timeout"
)

// HookLabels are all of them.
func HookLabels() []string { return []string{HookPre, HookDuring, HookPost, HookTimeout} }

// Hooks are the commands that a container asks for around each backup of what it mounts, as a program with its arguments; nil for none.
// They come from the labels of the very container that they are run in, whenever that is, so that nothing else can be run there.
type Hooks struct {
	Pre []string // has to succeed before any container of the hold is held
	// During lives as long as the hold. It says that it is ready by printing a line, and ends when its input does, which is at the latest
	// when whoever asked for the hold dies.
	During  []string
	Post    []string      // runs once the container runs again, whatever came of the rest
	Timeout time.Duration // of each: until it has ended, or for During until it is ready, and again until it has ended after its input
}

// None tells whether there is nothing to run.
func (h Hooks) None() bool { return h.Pre == nil && h.During == nil && h.Post == nil }

const (
	hookTimeout    = time.Minute // unless a label says otherwise
	maxHookTimeout = 24 * time.Hour
	maxHook        = 16 << 10 // bytes of a command
)

// ParseHooks reads the hooks among a container's labels. An error names the label.
func ParseHooks(labels map[string]string) (Hooks, error) {
	h := Hooks{Timeout: hookTimeout}
	var errs []error
	for key, command := range map[string]*[]string{HookPre: &h.Pre, HookDuring: &h.During, HookPost: &h.Post} {
		if text, ok := labels[key]; ok {
			var err error
			if *command, err = ParseCommand(text); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", key, err))
			}
		}
	}
	if text, ok := labels[HookTimeout]; ok {
		var err error
		if h.Timeout, err = parseHookTimeout(text); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", HookTimeout, err))
		}
	}
	if len(errs) > 0 {
		return Hooks{}, errors.Join(errs...)
	}
	return h, nil
}

// CheckHook tells what is wrong with the value of one of the labels.
func CheckHook(key, value string) (err error) {
	if key == HookTimeout {
		_, err = parseHookTimeout(value)
	} else {
		_, err = ParseCommand(value)
	}
	return err
}

// ParseCommand takes a JSON array for a program with its arguments, and all else for a line of the container's shell.
func ParseCommand(text string) ([]string, error) {
	text = strings.TrimSpace(text)
	var args []string
	err := json.Unmarshal([]byte(text), &args)
	switch {
	case text == "":
		return nil, errors.New("it is empty")
	case len(text) > maxHook:
		return nil, fmt.Errorf("it has %d bytes, and at most %d are possible", len(text), maxHook)
	case err != nil && strings.HasPrefix(text, `["`): // which no shell would take either
		return nil, fmt.Errorf(`it begins like a JSON array and is none (%w): write ["program", "argument"], or a line for sh`, err)
	case err != nil || args == nil: // also null, which is a fine name for a program
		args = []string{"sh", "-c", text}
	case len(args) == 0 || args[0] == "":
		return nil, errors.New(`it names no program: write ["program", "argument"], or a line for sh`)
	}
	if slices.ContainsFunc(args, func(s string) bool { return strings.Contains(s, "\x00") }) {
		return nil, errors.New("it has a zero byte in it, which no command can have")
	}
	return args, nil
}

func parseHookTimeout(text string) (time.Duration, error) {
	timeout, err := time.ParseDuration(strings.TrimSpace(text))
	if err != nil || timeout <= 0 || timeout > maxHookTimeout {
		return 0, fmt.Errorf("%q is no time that a command can be given: write one such as 30s, 5m or 1h, at most %v", text, maxHookTimeout)
	}
	return timeout, nil
}

// Hooked is a container with hooks.
type Hooked struct {
	Container engine.Container
	Hooks     Hooks
}

// hooked gives the containers whose hooks a request runs: all with processes that mount one of the volumes, those that only read it too,
// as whoever wrote the label wanted it to be run. With a container that is stopped no command can live.
func hooked(req Request, in Scene) (found []Hooked, err error) {
	for _, c := range inOrder(in.Containers) {
		if !req.Hooks || !c.Active() || isSelf(c.ID, in.Self) || !req.mounted(c) {
			continue
		}
		hooks, err := ParseHooks(c.Labels)
		if err != nil {
			return nil, fmt.Errorf("container %q: %w", c.Name, err)
		}
		if hooks.During != nil && req.mode() == Stop && req.concerns(c) {
			return nil, fmt.Errorf("container %q is to be stopped, which %s would not survive: hold it by pause or none, or do without that hook",
				c.Name, HookDuring)
		}
		if !hooks.None() {
			found = append(found, Hooked{c, hooks})
		}
	}
	return found, nil
}

// mounted tells whether the container mounts one of the volumes, in whichever way.
func (r Request) mounted(c engine.Container) bool {
	return slices.ContainsFunc(r.Volumes, func(v engine.Volume) bool {
		mounts, _ := c.Mounting(v)
		return mounts
	})
}
