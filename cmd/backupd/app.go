package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/backupd/backupd/internal/access"
	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/backup"
	"github.com/backupd/backupd/internal/bases"
	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/config"
	"github.com/backupd/backupd/internal/discovery"
	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/engine/dir"
	"github.com/backupd/backupd/internal/engine/docker"
	"github.com/backupd/backupd/internal/ledger"
	"github.com/backupd/backupd/internal/plan"
	"github.com/backupd/backupd/internal/quiesce"
	"github.com/backupd/backupd/internal/restore"
	"github.com/backupd/backupd/internal/seal"
	"github.com/backupd/backupd/internal/snapshot"
	"github.com/backupd/backupd/internal/targets"
)

// source is the place where volumes live: an engine, or a folder of folders.
type source interface {
	Address() string
	Info(ctx context.Context) (engine.Info, error)
	discovery.Engine
	quiesce.Engine
	restore.Engine
}

// app is what commands work with. It is made of the settings, anew for each command.
type app struct {
	cfg     config.Config
	log     *slog.Logger
	std     streams
	host    string
	scope   scope
	self    string // id of the container that this program runs in
	ledger  *ledger.Ledger
	targets []backup.Target // in the order of the settings
	stores  map[string]targets.Store
	keys    *seal.Keys
	locks   catalog.Locks
	pruner  backup.Pruner
}

func (a *app) now() time.Time { return time.Now() }

// withApp makes a command of a function that works with the settings.
func withApp(std streams, do func(ctx context.Context, a *app, args []string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		of, err := scopeOf(c)
		if err != nil {
			return err
		}
		a, err := newApp(c.Context(), std)
		if err != nil {
			return err
		}
		a.scope = of
		return do(c.Context(), a, args)
	}
}

// newApp reads the settings and opens the state directory. It touches neither engine nor target, except that an engine is asked for
// its name where no BACKUPD_HOST is set.
func newApp(ctx context.Context, std streams) (*app, error) {
	a, err := newBareApp(std)
	if err != nil {
		return nil, err
	}
	return a, a.open(ctx)
}

// newBareApp reads the settings, and touches nothing.
func newBareApp(std streams) (*app, error) {
	cfg, err := config.Load(os.Environ(), os.ReadFile)
	if err != nil {
		return nil, usage(err)
	}
	return &app{cfg: cfg, std: std, log: newLog(std.err, cfg.LogLevel, cfg.LogFormat), self: ownContainer()}, nil
}

// open makes of the settings what commands work with.
func (a *app) open(ctx context.Context) (err error) {
	cfg := a.cfg
	if err := a.openState(); err != nil {
		return err
	}
	a.pruner = backup.Pruner{Owner: a.ledger.Owner(), Now: a.now, Zone: time.Local}
	if a.host, err = a.hostName(ctx); err != nil {
		return err
	}
	a.keys = seal.KeysIn(cfg.Identity, ask)
	boundMemory(cfg.Parallel, len(cfg.Targets))
	a.stores = map[string]targets.Store{}
	for _, t := range cfg.Targets {
		target, err := a.openTarget(t)
		if err != nil {
			return usagef("BACKUPD_TARGETS: target %s: %w", t.Name, err)
		}
		a.targets = append(a.targets, target)
	}
	return nil
}

// openState opens what is remembered, if that is not done yet.
func (a *app) openState() error {
	if a.ledger != nil {
		return nil
	}
	if err := os.MkdirAll(a.cfg.StateDir, 0o700); err != nil {
		return usagef("make the state directory (BACKUPD_STATE_DIR): %w", err)
	}
	l, aside, err := ledger.Open(a.cfg.StateDir, rand.Reader)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS) {
		return usagef("use the state directory (BACKUPD_STATE_DIR): %w", err)
	}
	if err != nil {
		return err
	}
	if aside != nil {
		a.log.Error("what was remembered is lost: volumes that only labels of removed containers had enrolled are no longer backed up", "err", aside)
	}
	a.ledger = l
	a.locks = catalog.Locks{Dir: filepath.Join(a.cfg.StateDir, "locks")}
	return nil
}

func (a *app) hostName(ctx context.Context) (string, error) {
	if a.cfg.Host != "" {
		return a.cfg.Host, nil
	}
	src, err := a.source(ctx)
	if err != nil {
		return "", fmt.Errorf("find a name for this host (BACKUPD_HOST is not set): %w", err)
	}
	info, err := src.Info(ctx)
	if err != nil {
		return "", fmt.Errorf("find a name for this host (BACKUPD_HOST is not set): %w", err)
	}
	return info.Name, nil
}

// source opens the place where volumes live.
func (a *app) source(ctx context.Context) (source, error) {
	if a.cfg.Source == config.Dir {
		src, err := dir.Open(a.cfg.VolumesDir)
		if err != nil {
			return nil, usagef("BACKUPD_VOLUMES_DIR: %w", err)
		}
		return src, nil
	}
	return docker.Open(ctx, docker.Options{Log: a.log})
}

func (a *app) finder(src source) *discovery.Finder {
	f := &discovery.Finder{
		Engine:    src,
		Ledger:    a.ledger,
		Defaults:  a.cfg.Defaults(),
		All:       a.cfg.Source == config.Dir,
		Overrides: func() (plan.Overrides, error) { return readOverrides(a.cfg.Overrides) },
		Log:       a.log,
	}
	for _, t := range a.targets {
		f.Targets = append(f.Targets, t.Name)
	}
	return f
}

func readOverrides(path string) (plan.Overrides, error) {
	if path == "" {
		return plan.Overrides{}, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return plan.Overrides{}, usagef("read BACKUPD_OVERRIDES: %w", err)
	}
	o, err := plan.ParseOverrides(data)
	if err != nil {
		return plan.Overrides{}, usagef("read BACKUPD_OVERRIDES %s: %w", path, err)
	}
	return o, nil
}

// opener opens volumes. Both kinds of source have it: folders of a folder are all that there is to it.
type opener interface {
	backup.Opener
	restore.Opener
}

func (a *app) opener(src source) opener {
	eng, ok := src.(access.Engine)
	if !ok {
		return access.Direct{}
	}
	return a.access(eng)
}

func (a *app) access(eng access.Engine) *access.Access {
	return access.New(eng, access.Options{
		Owner: a.ledger.Owner(), Lock: filepath.Join(a.cfg.StateDir, "helpers.lock"), Program: ownProgram, Entropy: rand.Reader,
	})
}

func (a *app) runner(src source) (*backup.Runner, error) {
	spool, err := a.spool()
	if err != nil {
		return nil, err
	}
	if err := a.encryptsTo(); err != nil {
		a.log.Warn("what archives are encrypted to cannot be remembered", "err", err)
	}
	r := &backup.Runner{
		Identity: backup.Identity{Host: a.host, Owner: a.ledger.Owner(), Program: "backupd " + version},
		Keeper:   a.keeper(src),
		Engine:   src,
		Access:   a.opener(src),
		Targets:  map[string]backup.Target{},
		Locks:    a.locks,
		Spool:    spool,
		Bases:    bases.Bases{Dir: filepath.Join(a.cfg.StateDir, "indexes")},
		LeanFor:  time.Duration(a.cfg.Full),
		Archive:  archive.Options{Level: a.cfg.Compression, ReadLimit: int64(a.cfg.ReadLimit), Scratch: spool.Dir},
		Seal:     a.cfg.Recipients,
		Pruner:   a.pruner,
		Now:      a.now,
		Entropy:  rand.Reader,
		Log:      a.log,

		AnyTarget: a.anyTarget(),
	}
	if starts, ok := src.(backup.Starts); ok {
		r.Starts = starts
	}
	for _, t := range a.targets {
		r.Targets[t.Name] = t
	}
	return r, nil
}

// encryptsTo remembers since when archives are encrypted to the recipients that are set, for what opens one to be known as a proof.
func (a *app) encryptsTo() error {
	if a.ledger.View().Keys.Recipients == a.cfg.Recipients.Fingerprint() {
		return nil
	}
	return a.ledger.Update(func(s *ledger.State) error {
		s.EncryptsTo(a.cfg.Recipients.Fingerprint(), a.now())
		return nil
	})
}

// opened remembers that a key has opened a snapshot.
func (a *app) opened(m snapshot.Manifest) {
	const often = time.Hour
	if known := a.ledger.View().Keys; m.Owner != a.ledger.Owner() || a.now().Sub(known.Opened) < often {
		return
	}
	err := a.ledger.Update(func(s *ledger.State) error {
		s.Opens(m.ID.Time(), a.now())
		return nil
	})
	if err != nil {
		a.log.Warn("that a key opens what is encrypted cannot be remembered", "err", err)
	}
}

// anyTarget tells whether a run that stored on one target is good.
func (a *app) anyTarget() bool { return a.cfg.Policy == config.Any }

// spool bounds what all jobs together may keep on disk: as was set, or a fifth of what is free.
func (a *app) spool() (backup.Spool, error) {
	dir := filepath.Join(a.cfg.StateDir, "spool")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return backup.Spool{}, fmt.Errorf("make folder of spools: %w", err)
	}
	limit := int64(a.cfg.SpoolLimit)
	if limit == 0 {
		var st unix.Statfs_t
		if err := unix.Statfs(dir, &st); err != nil {
			return backup.Spool{}, fmt.Errorf("ask for the free space at %s: %w", dir, err)
		}
		limit = int64(st.Bavail) * st.Bsize / 5
	}
	return backup.Spool{Dir: dir, Limit: max(limit/int64(a.cfg.Parallel), 1<<20)}, nil
}

func (a *app) restorer(src source) *restore.Runner {
	r := &restore.Runner{Self: a.self, Log: a.log, Exchanges: a.exchanges(), Now: a.now}
	if src != nil {
		r.Engine, r.Keeper, r.Access = src, a.keeper(src), a.opener(src)
	}
	return r
}

// failed tells how a set of volumes went.
func failed(results []backup.Result) error {
	var errs []error
	bad := 0
	for _, r := range results {
		if err := r.Failure(); err != nil {
			bad++
			errs = append(errs, ofVolume{r.Volume, err})
		}
	}
	switch {
	case bad == 0:
		return nil
	case bad < len(results) || anyStored(results):
		return coded{errors.Join(errs...), exitSome}
	default:
		return coded{errors.Join(errs...), exitFailed}
	}
}

func anyStored(results []backup.Result) bool {
	for _, r := range results {
		if r.Stored() {
			return true
		}
	}
	return false
}
