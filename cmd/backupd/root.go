package main

import (
	"fmt"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/backupd/backupd/internal/spelling"
)

const about = `backupd backs up Docker volumes: it finds them by label, makes the containers
that use them hold still, streams each volume as a tar archive to local disk or
S3-compatible storage, keeps what the retention policy names, and gives volumes
back with one command.

Label a volume, or a container that mounts it, with backupd.enable=true; then:

  backupd volumes                  what is enrolled, and each setting
  backupd plan                     what a backup would do, without doing it
  backupd backup                   back up all enrolled volumes now
  backupd run                      keep doing it on schedule
  backupd list                     the snapshots
  backupd doctor                   whether all that it takes is there, and how to mend it
  backupd restore app --in-place   bring a volume back as it was

Settings come from the environment (BACKUPD_TARGETS, BACKUPD_SCHEDULE, ...): see
"backupd help settings". Exit codes: 0 done, 1 failed, 2 wrong usage or
configuration, 3 some volumes failed, 4 damaged data found.`

func newRoot(std streams) *cobra.Command {
	root := &cobra.Command{
		Use:           "backupd",
		Short:         "Backups of Docker volumes that come back",
		Long:          about,
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       version,

		DisableFlagsInUseLine: true,

		Args: knownCommand,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages", ".FlagUsagesWrapped 80"))
	root.SetIn(std.in)
	root.SetOut(std.out)
	root.SetErr(std.err)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usagef("%w (see %q)", err, c.CommandPath()+" --help")
	})
	root.AddGroup(
		&cobra.Group{ID: "make", Title: "Make backups:"},
		&cobra.Group{ID: "look", Title: "Look at what there is:"},
		&cobra.Group{ID: "back", Title: "Get data back:"},
		&cobra.Group{ID: "tidy", Title: "Keep and remove:"},
	)
	root.AddCommand(
		newRun(std), newBackup(std), newSync(std), newPlan(std), newVolumes(std),
		newList(std), newShow(std), newLs(std), newFind(std), newMount(std), newDiff(std), newVerify(std), newDoctor(std), newAudit(std),
		newRestore(std), newUndo(std), newDrill(std), newCat(std), newExport(std),
		newPin(std), newUnpin(std), newRemove(std), newPrune(std), newRecover(std), newGuard(std), newHelper(std), newAskSQLite(std),
		newVersion(std), newSettingsHelp(),
	)
	root.SetHelpCommand(newHelp(root))
	return root
}

// newHelp explains a command, or a topic. Other than cobra's own, it takes an unknown one for the mistake that it is.
func newHelp(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Explain a command, or the settings",
		RunE: func(_ *cobra.Command, args []string) error {
			c, rest, err := root.Find(args)
			if err == nil {
				err = knownCommand(c, rest)
			}
			if err != nil {
				return usage(err)
			}
			return c.Help()
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) (names []string, _ cobra.ShellCompDirective) {
			for _, c := range root.Commands() {
				if len(args) == 0 && !c.Hidden {
					names = append(names, c.Name()+"\t"+c.Short)
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	}
}

// knownCommand refuses the name of a command that there is not, and guesses which was meant.
func knownCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var known []string
	for _, sub := range c.Commands() {
		known = append(known, sub.Name())
	}
	if nearest := spelling.Nearest(args[0], known); nearest != "" {
		return usagef("there is no command %q: did you mean %q?", args[0], nearest)
	}
	return usagef("there is no command %q: see \"backupd help\"", args[0])
}

func newVersion(std streams) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(std.out, "backupd %s (%s, %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}

// The kinds of arguments, with errors that count as wrong usage.

func noArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%s takes no arguments, and %q is one (see %q)", c.CommandPath(), args[0], c.CommandPath()+" --help")
	}
	return nil
}

func someArgs(n int, what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) < n {
			return usagef("%s: name %s (see %q)", c.CommandPath(), what, c.CommandPath()+" --help")
		}
		return nil
	}
}

func argsBetween(least, most int, what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) < least || len(args) > most {
			return usagef("%s: name %s (see %q)", c.CommandPath(), what, c.CommandPath()+" --help")
		}
		return nil
	}
}

func oneArg(what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usagef("%s: name %s, and one only (see %q)", c.CommandPath(), what, c.CommandPath()+" --help")
		}
		return nil
	}
}
