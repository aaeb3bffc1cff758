package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/backupd/backupd/internal/archive"
)

// restoreFlags are what a restore is asked for besides the snapshot.
type restoreFlags struct {
	project         string
	toVolume, toDir string
	inPlace         bool
	from            string
	paths           []string
	options         []string
	ifEmpty         bool
	dryRun, asJSON  bool
	keepGoing       bool

	commit, undoIfUnhealthy bool
}

// args takes a volume, unless it is all of a project that is restored, or there is somebody to ask for the volume.
func (f *restoreFlags) args(c *cobra.Command, std streams, args []string) error {
	if _, ok := f.asking(std, args); ok {
		return nil
	}
	if f.project == "" {
		return oneArg("a volume")(c, args)
	}
	if len(args) > 0 {
		return usagef("--project restores all of its volumes: name no volume beside it")
	}
	return nil
}

// asking gives a dialogue where nothing is said of what to restore and to where, and there is somebody to ask.
func (f *restoreFlags) asking(std streams, args []string) (*dialogue, bool) {
	if len(args) > 0 || f.project != "" || f.toVolume != "" || f.toDir != "" || f.inPlace || len(f.paths)+len(f.options) > 0 || f.keepGoing || f.ifEmpty || f.dryRun || f.commit || f.undoIfUnhealthy {
		return nil, false
	}
	return newDialogue(std)
}

func (f restoreFlags) check() error {
	if f.project != "" {
		return f.checkProject()
	}
	if f.asJSON && !f.dryRun {
		return usagef("--json is for what --dry-run lists")
	}
	chosen := 0
	for _, set := range []bool{f.toVolume != "", f.toDir != "", f.inPlace} {
		if set {
			chosen++
		}
	}
	if chosen != 1 {
		return usagef("say where to restore to: one of --to-volume NAME, --to-dir DIR or --in-place")
	}
	if !f.inPlace && (f.commit || f.undoIfUnhealthy) {
		return usagef("--commit and --undo-if-unhealthy are for what a restore replaces: they go with --in-place")
	}
	if f.commit && f.undoIfUnhealthy {
		return usagef("--commit leaves nothing that could be put back: choose it or --undo-if-unhealthy")
	}
	if f.keepGoing && (f.toDir == "" || f.dryRun) {
		return usagef("--keep-going is for a damaged snapshot, of which somebody has to look at what is left: it goes with --to-dir")
	}
	if len(f.options) > 0 && f.toVolume == "" {
		return usagef("--option is for a volume that is made: it goes with --to-volume")
	}
	if _, err := f.driverOptions(); err != nil {
		return err
	}
	for _, glob := range f.paths {
		if err := archive.ValidateGlob(glob); err != nil {
			return usagef("--path: %w", err)
		}
	}
	return nil
}

// checkProject refuses what is of one volume alone.
func (f restoreFlags) checkProject() error {
	switch {
	case f.inPlace:
		return usagef("--project restores to volumes that are empty or gone: restore the others one by one, with restore VOLUME@WHEN --in-place")
	case f.toVolume != "" || f.toDir != "":
		return usagef("--project restores each volume to one of its own name: neither --to-volume nor --to-dir goes with it")
	case f.commit || f.undoIfUnhealthy:
		return usagef("--commit and --undo-if-unhealthy go with --in-place, and --project replaces nothing")
	case len(f.paths) > 0 || len(f.options) > 0 || f.keepGoing || f.asJSON:
		return usagef("--path, --option, --keep-going and --json are for one volume: restore it by itself, and the others with --project NAME --if-empty")
	}
	return nil
}

// driverOptions reads the options. A value may hold anything, as passwords do.
func (f restoreFlags) driverOptions() (map[string]string, error) {
	options := map[string]string{}
	for _, option := range f.options {
		name, value, found := strings.Cut(option, "=")
		if !found || name == "" {
			return nil, usagef("--option: write name=value") // and repeat none of it: it may be a password
		}
		options[name] = value
	}
	return options, nil
}
