package plan

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/backupd/backupd/internal/engine"
)

// Overrides are labels for volumes that exist already, by volume. They win over all others.
type Overrides map[string]map[string]string

const maxOverrides = 1 << 20 // bytes

// ParseOverrides reads a file of sections, one for each volume, with its labels as lines "key = value":
//
//	# a comment
//	[app_data]
//	backupd.enable = true
//	backupd.schedule = H 3 * * *
//
// What a name or value is written with counts as it stands, without the spaces around it; in a name, %XX is a byte. An error names the
// lines.
func ParseOverrides(data []byte) (Overrides, error) {
	if len(data) > maxOverrides {
		return nil, fmt.Errorf("it has %d bytes, and at most %d are possible", len(data), maxOverrides)
	}
	const named = 10 // errors; more would be a file of something else
	p := overridesParser{read: Overrides{}}
	var errs []error
	number := 0
	for line := range strings.Lines(strings.TrimPrefix(string(data), "\ufeff")) {
		number++
		if err := p.line(strings.TrimSpace(line)); err != nil {
			errs = append(errs, fmt.Errorf("line %d: %w", number, err))
		}
		if len(errs) == named {
			break
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return p.read, nil
}

type overridesParser struct {
	read    Overrides
	section map[string]string // nil before the first
}

func (p *overridesParser) line(line string) error {
	switch {
	case line == "" || line[0] == '#' || line[0] == ';':
		return nil
	case line[0] == '[':
		return p.open(line)
	default:
		return p.label(line)
	}
}

func (p *overridesParser) open(line string) error {
	p.section = make(map[string]string) // also for a bad one, so that its labels are read and not complained about
	written, closed := strings.CutSuffix(line[1:], "]")
	name, err := url.PathUnescape(strings.TrimSpace(written))
	switch {
	case err != nil:
		return fmt.Errorf("%s: write %%25 for a percent sign, and %%XX for a byte that is hard to write", show(line))
	case !closed || name == "":
		return fmt.Errorf("%s: write the name of a volume as [name]", show(line))
	case p.read[name] != nil:
		return fmt.Errorf("there is another section for volume %s", show(name))
	}
	p.read[name] = p.section
	return nil
}

func (p *overridesParser) label(line string) error {
	key, value, found := strings.Cut(line, "=")
	key, value = strings.TrimSpace(key), strings.TrimSpace(value)
	switch _, twice := p.section[key]; {
	case p.section == nil:
		return fmt.Errorf("%s: it comes before the first [name of a volume]", show(line))
	case !found || value == "":
		return fmt.Errorf("%s: write key = value", show(line))
	case twice:
		return fmt.Errorf("%s is set twice for one volume", key)
	case !slices.Contains(settingKeys(), key):
		if meant := nearest(key, settingKeys()); ours(key) && meant != "" {
			return fmt.Errorf("%s is no label for a volume: did you mean %s?", show(key), meant)
		}
		return fmt.Errorf("%s is no label for a volume: there are %s", show(key), strings.Join(settingKeys(), ", "))
	}
	p.section[key] = value
	return nil
}

// Unused gives the names, sorted, of sections for which there is no volume: written wrong, perhaps.
func (o Overrides) Unused(volumes []engine.Volume) []string {
	var names []string
	for name := range o {
		if !slices.ContainsFunc(volumes, func(v engine.Volume) bool { return v.Name == name }) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
