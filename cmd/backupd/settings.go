package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/backupd/backupd/internal/config"
)

// newSettingsHelp is a page of help, not a command: it is made of what the program knows of its settings.
func newSettingsHelp() *cobra.Command {
	var b strings.Builder
	b.WriteString("Settings come from the environment. Each can also be given as NAME_FILE, with\nthe path of a file that holds the value.\n")
	for _, v := range config.Variables() {
		fmt.Fprintf(&b, "\n  %s", v.Name)
		if v.Default != "" {
			fmt.Fprintf(&b, " (default: %s)", v.Default)
		}
		fmt.Fprintf(&b, "\n%s", indented(v.Help, 6, 80))
	}
	b.WriteString(`
Credentials for S3 come from where the AWS SDK looks: AWS_ACCESS_KEY_ID and
AWS_SECRET_ACCESS_KEY, shared files, roles.

Labels on a volume, or on a container for the volumes that it mounts, win over
these: backupd.enable, backupd.schedule, backupd.retention, backupd.quiesce,
backupd.quiesce.limit, backupd.targets, backupd.exclude, backupd.group,
backupd.drill (a schedule, or never), backupd.drill.exec and
backupd.drill.env-file.

Labels on a container alone, for commands that are run in it around a backup of
what it mounts: backupd.hook.pre before anything is held, backupd.hook.during for
as long as the hold takes, backupd.hook.post when all runs again (it may be run
twice). Each is a JSON array, ["program", "argument"], or else a line for sh. A
command that fails makes the run fail, as does one that takes longer than
backupd.hook.timeout (default: 1m).`)
	return &cobra.Command{Use: "settings", Short: "The settings in the environment, and the labels", Long: b.String()}
}

var mountedHostname = regexp.MustCompile(`/containers/([0-9a-f]{64})/hostname /etc/hostname `)

// indented breaks a text into lines of at most width characters, where its words let it.
func indented(text string, indent, width int) string {
	var b strings.Builder
	column := 0
	for word := range strings.FieldsSeq(text) {
		switch {
		case column == 0:
			column = indent
			b.WriteString(strings.Repeat(" ", indent))
		case column+1+len(word) > width:
			column = indent
			b.WriteString("\n" + strings.Repeat(" ", indent))
		default:
			column++
			b.WriteByte(' ')
		}
		column += len(word)
		b.WriteString(word)
	}
	return b.String() + "\n"
}

// ownContainer is the id of the container that this program runs in, or its beginning, or "". Engines mount files into a container from a
// folder that is named after it, and name its host after it unless that is the network's.
func ownContainer() string {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err == nil {
		if m := mountedHostname.FindSubmatch(table); m != nil {
			return string(m[1])
		}
	}
	if _, err := os.Stat("/.dockerenv"); err != nil {
		return ""
	}
	name, err := os.Hostname()
	if err != nil || len(name) < 12 || strings.Trim(name, "0123456789abcdef") != "" {
		return ""
	}
	return name
}
