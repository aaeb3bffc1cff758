package snapshot

import (
	"regexp"
	"slices"
	"strings"
)

// secret matches names of driver options, and of mount options in the option "o", whose values are nobody's business (mount.cifs(8)
// knows user, username, pass, password, password2 and credentials).
var secret = regexp.MustCompile(`(?i)^(user(name)?|pass(wor[dt]|wd|phrase)?2?|cred(ential)?s?|.*(secret|token|password|passwd|(access|api|private).?key).*)$`)

// WithoutCredentials splits the options of a volume's driver into those that a manifest may hold, and the names of those that carry
// credentials. Of the option "o", which is a list of mount options, the rest stays.
func WithoutCredentials(options map[string]string) (public map[string]string, withheld []string) {
	for name, value := range options {
		if secret.MatchString(name) {
			withheld = append(withheld, name)
			continue
		}
		if name == "o" {
			var dropped []string
			value, dropped = withoutCredentials(value)
			withheld = append(withheld, dropped...)
		}
		if public == nil {
			public = map[string]string{}
		}
		public[name] = value
	}
	slices.Sort(withheld)
	return public, withheld
}

func withoutCredentials(mountOptions string) (public string, withheld []string) {
	var kept []string
	for option := range strings.SplitSeq(mountOptions, ",") {
		if name, _, _ := strings.Cut(option, "="); secret.MatchString(strings.TrimSpace(name)) {
			withheld = append(withheld, "o."+strings.TrimSpace(name))
			continue
		}
		kept = append(kept, option)
	}
	return strings.Join(kept, ","), withheld
}
