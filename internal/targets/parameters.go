package targets

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/backupd/backupd/internal/spelling"
)

// Parameters sets what stands after the "?" of a target's URL, each parameter at most once. Its own errors repeat names, and no values.
func Parameters(u *url.URL, known map[string]func(value string) error) error {
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return errors.New("what follows the question mark cannot be read: write it as key=value&key=value")
	}
	for name, values := range query {
		set, ok := known[name]
		if !ok {
			return unknown(name, slices.Sorted(maps.Keys(known)))
		}
		if len(values) > 1 {
			return fmt.Errorf("parameter %s is given more than once", name)
		}
		if err := set(values[0]); err != nil {
			return fmt.Errorf("parameter %s: %w", name, err)
		}
	}
	return nil
}

func unknown(name string, known []string) error {
	meant := ""
	if near := spelling.Nearest(name, known); near != "" {
		meant = fmt.Sprintf(" (did you mean %s?)", near)
	}
	return fmt.Errorf("unknown parameter %q%s: there are %s", name, meant, strings.Join(known, ", "))
}
