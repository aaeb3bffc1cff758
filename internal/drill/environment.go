package drill

import (
	"fmt"
	"slices"
	"strings"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/snapshot"
)

// environment gives the recorded variables with the values that they have today: in the container that runs today, else in a file; what the
// image itself sets needs neither. Those of which there is no value are missing.
func (r *Runner) environment(file string, c snapshot.Container, image engine.Image, today current) (env, missing []string, err error) {
	values := map[string]string{}
	if file != "" {
		if values, err = r.envFile(file); err != nil {
			return nil, nil, err
		}
	}
	for _, set := range today.Env {
		name, value, _ := strings.Cut(set, "=")
		values[name] = value
	}
	for _, name := range c.Run.Environment {
		value, known := values[name]
		own := slices.ContainsFunc(image.Env, func(set string) bool { return strings.HasPrefix(set, name+"=") })
		switch {
		case own && (!known || today.id != "" && today.imageID != c.ImageID): // of another image it may say something else
		case known:
			env = append(env, name+"="+value)
		default:
			missing = append(missing, name)
		}
	}
	return env, missing, nil
}

// envFile reads lines of NAME=VALUE, as docker run --env-file does.
func (r *Runner) envFile(path string) (map[string]string, error) {
	text, err := r.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the file of environment variables: %w", err)
	}
	values := map[string]string{}
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		line = strings.TrimRight(line, "\r\n")
		if trimmed := strings.TrimSpace(line); trimmed == "" || strings.HasPrefix(trimmed, "#") {
			continue
		}
		name, value, found := strings.Cut(line, "=")
		if name = strings.TrimSpace(name); !found || name == "" {
			return nil, fmt.Errorf("file of environment variables %s: line %d is not NAME=VALUE", path, n) // and repeat none of it
		}
		values[name] = value
	}
	return values, nil
}

// value is that of a variable in a container's environment, or "".
func value(env []string, names ...string) string {
	for _, name := range names {
		for _, set := range slices.Backward(env) {
			if v, found := strings.CutPrefix(set, name+"="); found && v != "" {
				return v
			}
		}
	}
	return ""
}
