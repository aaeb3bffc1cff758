package restore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/backupd/backupd/internal/access"
	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/folder"
	"github.com/backupd/backupd/internal/snapshot"
)

// ToVolume restores into a volume. One that does not exist is made with the driver, options and labels that the snapshot's volume
// had; options add to these or take their place, which those need that the manifest withholds. One that exists must be empty,
// and no container may run on it.
func (r *Runner) ToVolume(ctx context.Context, req Request, name string, options map[string]string) (Result, error) {
	v, err := r.Engine.Volume(ctx, name)
	made := errors.Is(err, engine.ErrNotFound)
	if made {
		v, err = r.create(ctx, req, name, options)
	}
	if err != nil {
		return Result{}, err
	}
	result, err := r.intoVolume(ctx, req, v)
	if err != nil && made && !errors.Is(err, ErrNotEmpty) {
		cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
		defer cancel()
		err = errors.Join(err, r.Engine.RemoveVolume(cleanup, name))
	}
	return result, err
}

// Place is what there is of a volume that is to be restored to.
type Place string

// The places.
const (
	Absent Place = "absent" // it will be made
	Empty  Place = "empty"
	Filled Place = "filled" // and is not touched

	// InMemory is empty whenever nothing runs on it, and can only be restored in place.
	InMemory Place = "in memory"
)

// Look says what there is of a volume, without changing anything, and fails where ToVolume would be sure to.
func (r *Runner) Look(ctx context.Context, req Request, name string) (there Place, err error) {
	v, err := r.Engine.Volume(ctx, name)
	there = Empty
	if errors.Is(err, engine.ErrNotFound) {
		there = Absent
		v, err = r.planned(req, name, nil)
	}
	switch {
	case err != nil:
		return there, err
	case v.Fleeting():
		return InMemory, nil
	case there == Absent:
		return there, nil
	}
	f, err := r.Access.Writer(ctx, v)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	filled, err := vacant(ctx, f, true)
	if filled || errors.Is(err, folder.ErrUnsettled) { // ToVolume will have it wholly filled
		return Filled, nil
	}
	if err != nil {
		return "", err
	}
	return Empty, r.unused(ctx, v)
}

func (r *Runner) intoVolume(ctx context.Context, req Request, v engine.Volume) (result Result, err error) {
	f, err := r.Access.Writer(ctx, v)
	if err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	left, err := vacant(ctx, f, req.IfEmpty)
	if errors.Is(err, folder.ErrUnsettled) { // a restore was killed
		left, err = r.settled(ctx, req, v, f)
	}
	if errors.Is(err, ErrNotEmpty) {
		return Result{}, fmt.Errorf("volume %q is %w: restore to another volume, or replace its content with --in-place", v.Name, ErrNotEmpty)
	}
	if err != nil || left {
		return Result{Left: left}, err
	}
	if err := r.unused(ctx, v); err != nil {
		return Result{}, err
	}
	return r.fill(ctx, req, f)
}

// settled is vacant, once what a restore that was killed had begun to move is all in the volume or out of it.
func (r *Runner) settled(ctx context.Context, req Request, v engine.Volume, f access.Folder) (left bool, err error) {
	if err := r.unused(ctx, v); err != nil {
		return false, err
	}
	if _, err := f.Settle(ctx); err != nil {
		return false, fmt.Errorf("volume %q: %w", v.Name, err)
	}
	return vacant(ctx, f, req.IfEmpty)
}

// cleanupTime is how long cleaning up may take after a restore was cancelled.
const cleanupTime = 15 * time.Second

func (r *Runner) create(ctx context.Context, req Request, name string, options map[string]string) (engine.Volume, error) {
	v, err := r.planned(req, name, options)
	if err != nil {
		return engine.Volume{}, err
	}
	v, err = r.Engine.CreateVolume(ctx, v)
	if err != nil {
		return engine.Volume{}, fmt.Errorf("create volume %q as it was: %w", name, err)
	}
	return v, nil
}

// planned is the snapshot's volume as it was, by another name perhaps.
func (r *Runner) planned(req Request, name string, options map[string]string) (engine.Volume, error) {
	facts, err := req.From.Facts(req.Snapshot)
	if err != nil {
		return engine.Volume{}, err
	}
	all, err := allOptions(facts, options)
	if err != nil {
		return engine.Volume{}, fmt.Errorf("create volume %q: %w", name, err)
	}
	return engine.Volume{Name: name, Driver: facts.Driver, Options: all, Labels: facts.Labels}, nil
}

// allOptions are the recorded options and those that are given now. A withheld mount option "o.password" goes back into "o".
func allOptions(facts snapshot.Restore, given map[string]string) (map[string]string, error) {
	all := maps.Clone(facts.Options)
	if all == nil {
		all = map[string]string{}
	}
	var missing []string
	for _, name := range facts.Withheld {
		if _, ok := given[name]; !ok {
			missing = append(missing, "--option "+name+"=...")
		}
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("its driver's options with credentials are not in the manifest: add %s", strings.Join(missing, " "))
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if mount, ok := strings.CutPrefix(name, "o."); ok {
			all["o"] = strings.TrimPrefix(all["o"]+","+mount+"="+given[name], ",")
			continue
		}
		all[name] = given[name]
	}
	return all, nil
}

// unused makes sure that nothing runs on a volume that is about to be filled.
func (r *Runner) unused(ctx context.Context, v engine.Volume) error {
	if v.Fleeting() {
		return fmt.Errorf("volume %q lies in memory (tmpfs) and would be empty again as soon as it is filled: start what uses it, and use --in-place", v.Name)
	}
	user, err := r.user(ctx, v)
	if err == nil && user != "" {
		err = fmt.Errorf("container %s runs on volume %q: stop it first, or use --in-place, which does", user, v.Name)
	}
	return err
}

// kept makes sure that what is exchanged in a volume stays there.
func (r *Runner) kept(ctx context.Context, v engine.Volume) error {
	if !v.Fleeting() {
		return nil
	}
	user, err := r.user(ctx, v)
	if err == nil && user == "" {
		err = fmt.Errorf("volume %q lies in memory (tmpfs) while containers run on it, and none does: start what uses it first", v.Name)
	}
	return err
}

// user gives the name of a container that runs on a volume, or "".
func (r *Runner) user(ctx context.Context, v engine.Volume) (string, error) {
	containers, err := r.Engine.Containers(ctx)
	if err != nil {
		return "", err
	}
	for _, c := range containers {
		self := r.Self != "" && strings.HasPrefix(c.ID, r.Self)
		if mounts, _ := c.Mounting(v); mounts && c.Active() && !self {
			return c.Name, nil
		}
	}
	return "", nil
}
