package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"github.com/backupd/backupd/internal/backup"
	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/config"
	"github.com/backupd/backupd/internal/targets"
	"github.com/backupd/backupd/internal/targets/local"
	"github.com/backupd/backupd/internal/targets/rclone"
	"github.com/backupd/backupd/internal/targets/s3"
	"github.com/backupd/backupd/internal/targets/sftp"
)

// checkTarget says what is wrong with a target's URL by itself.
func checkTarget(u *url.URL) error {
	switch u.Scheme {
	case "s3":
		return s3.CheckURL(u)
	case "rclone":
		return rclone.CheckURL(u)
	case "sftp":
		return sftp.CheckURL(u)
	}
	return nil
}

// openTarget lists the kinds of target that exist.
func (a *app) openTarget(t config.Target) backup.Target {
	store := targets.Lazy(func(ctx context.Context) (targets.Store, error) {
		switch t.URL.Scheme {
		case "file":
			return local.Open(t.URL.Path)
		case "s3":
			return s3.Open(ctx, t.URL, s3.Options{Log: a.log, Now: a.now})
		case "rclone":
			return rclone.Open(t.URL)
		case "sftp":
			return sftp.Open(t.URL)
		}
		return nil, fmt.Errorf("target %s: there is no kind of target %q", t.Name, t.URL.Scheme)
	})
	return backup.Target{
		Name:    t.Name,
		Check:   store.Check,
		Catalog: catalog.New(store, a.cache(t), a.host).WithKeys(a.keys),
	}
}

// cache keeps the manifests of a target that is not on this host. It is named after the target's address, so that another target
// under the same name is not mistaken for it.
func (a *app) cache(t config.Target) targets.Store {
	if t.URL.Scheme == "file" {
		return nil
	}
	address := sha256.Sum256([]byte(t.URL.String()))
	dir := filepath.Join(a.cfg.StateDir, "cache", t.Name+"-"+hex.EncodeToString(address[:8]))
	return targets.Lazy(func(context.Context) (targets.Store, error) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("make the cache of manifests: %w", err)
		}
		return local.Open(dir)
	})
}

func (a *app) target(name string) (backup.Target, error) {
	var names []string
	for _, t := range a.targets {
		if t.Name == name {
			return t, nil
		}
		names = append(names, t.Name)
	}
	return backup.Target{}, usagef("there is no target %q: BACKUPD_TARGETS has %q", name, names)
}
