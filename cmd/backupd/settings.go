package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/backupd/backupd/internal/config"
)

// newSettingsHelp is a page of help, not a command: it is made of what the program knows of its settings.
func newSettingsHelp() *cobra.Command {
	var b strings.Builder
	b.WriteString("Settings come from the environment. Each can also be given as NAME_FILE, with the path of a file that holds the value.\n")
	for _, v := range config.Variables() {
		fmt.Fprintf(&b, "\n  %s", v.Name)
		if v.Default != "" {
			fmt.Fprintf(&b, " (default: %s)", v.Default)
		}
		fmt.Fprintf(&b, "\n      %s\n", v.Help)
	}
	b.WriteString(`
Credentials for S3 come from where the AWS SDK looks: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, shared files, roles.

Labels on a volume, or on a container for the volumes that it mounts, win over these: backupd.enable, backupd.schedule,
backupd.retention, backupd.quiesce, backupd.quiesce.limit, backupd.targets, backupd.exclude, backupd.group.
`)
	return &cobra.Command{Use: "settings", Short: "The settings in the environment, and the labels", Long: b.String()}
}

// ownContainer is the id of the container that this program runs in, or its beginning: engines name a container's host after it.
func ownContainer() string {
	if _, err := os.Stat("/.dockerenv"); err != nil {
		return ""
	}
	name, err := os.Hostname()
	if err != nil || len(name) < 12 || strings.Trim(name, "0123456789abcdef") != "" {
		return ""
	}
	return name
}
