package snapshot

import (
	"errors"
	"regexp"
	"slices"
	"strings"
)

// Withheld stands in a command line where a credential was.
const Withheld = "[withheld]"

// secretWord matches names of arguments and variables whose values are nobody's business. That of a file with the secret is no secret.
const secretWord = `[\w.-]*(?:pass(?:wor[dt]|wd|phrase|code)?|requirepass|masterauth|secret|token|credentials?|(?:access|api|private)[_-]?key)[\w.-]*`

var (
	// A value that is a variable's, or a file's, is none.
	secretInline = regexp.MustCompile(`(?i)((?:^|[\s;&|"'(])-{0,2}` + secretWord + `=)("[^"$]*"|'[^'$]*'|[^\s"'$;&|][^\s;&|]*)`)
	secretSpaced = regexp.MustCompile(`(?i)((?:^|[\s;&|"'(])(?:--?)?` + secretWord + `\s+)("[^"$]*"|'[^'$]*'|[^\s"'$;&|-][^\s;&|]*)`)
	secretAlone  = regexp.MustCompile(`(?i)^--?` + secretWord + `$`)
	notSecret    = regexp.MustCompile(`(?i)(file|path|dir|policy|encryption|length|expire\w*)[= \t]*$`)
	secretURL    = regexp.MustCompile(`(://[^/\s:@]*:)([^/\s@$]+)(@)`)
	// How clients of databases are given one in the command line: mysql -pSECRET, redis-cli -a SECRET.
	secretShort = regexp.MustCompile(`(\b(?:mysql|mariadb)\w*(?:-admin|-check)?\b[^;&|]*?\s-p)([^\s"'$;&|]+)|(\b(?:redis|valkey)-cli\b[^;&|]*?\s-a\s+)([^\s"'$;&|]+)`)
)

// WithoutSecrets is a command line in which Withheld stands in place of what looks like a credential.
func WithoutSecrets(args []string) []string {
	public := slices.Clone(args)
	for i, arg := range public {
		switch {
		case i > 0 && follows(args, i):
			public[i] = Withheld
		default:
			public[i] = withoutSecrets(arg, strings.ContainsAny(arg, " \t\n"))
		}
	}
	return public
}

// follows tells whether an argument is the value of the one before it.
func follows(args []string, i int) bool {
	name, value := args[i-1], args[i]
	if value == "" || strings.HasPrefix(value, "$") || strings.HasPrefix(value, "-") {
		return false
	}
	if secretAlone.MatchString(name) && !notSecret.MatchString(name) {
		return true
	}
	return name == "-a" && slices.ContainsFunc(args[:i], func(s string) bool { return strings.HasSuffix(s, "redis-cli") || strings.HasSuffix(s, "valkey-cli") })
}

// withoutSecrets withholds what a word, or a line for a shell, has in it.
func withoutSecrets(text string, line bool) string {
	text = secretURL.ReplaceAllString(text, "${1}"+Withheld+"${3}")
	text = withhold(secretInline, text)
	if line {
		text = withhold(secretSpaced, text)
	}
	return secretShort.ReplaceAllString(text, "${1}${3}"+Withheld)
}

// withhold replaces what comes after a name, unless that is of something else than a secret.
func withhold(pattern *regexp.Regexp, text string) string {
	return pattern.ReplaceAllStringFunc(text, func(found string) string {
		parts := pattern.FindStringSubmatch(found)
		if notSecret.MatchString(strings.TrimRight(parts[1], "= \t")) {
			return found
		}
		return parts[1] + Withheld
	})
}

// ErrWithheld marks a command line that lacks a credential.
var ErrWithheld = errors.New("a credential in the command line was withheld from the manifest")

// Complete gives a command line with what was withheld from it, out of the one that is used today, if that differs in nothing else.
func Complete(recorded, today []string) ([]string, error) {
	if !slices.ContainsFunc(recorded, func(arg string) bool { return strings.Contains(arg, Withheld) }) {
		return recorded, nil
	}
	if !slices.Equal(recorded, WithoutSecrets(today)) {
		return nil, ErrWithheld
	}
	return today, nil
}

// Withhold withholds what looks like a credential.
func (r *Run) Withhold() {
	if r == nil {
		return
	}
	r.Entrypoint, r.Command = WithoutSecrets(r.Entrypoint), WithoutSecrets(r.Command)
	if r.Health != nil {
		r.Health.Test = WithoutSecrets(r.Health.Test)
	}
}
