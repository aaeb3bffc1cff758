package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"path/filepath"

	"github.com/backupd/backupd/internal/backup"
	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/config"
	"github.com/backupd/backupd/internal/snapshot"
	"github.com/backupd/backupd/internal/targets"
	"github.com/backupd/backupd/internal/targets/local"
	"github.com/backupd/backupd/internal/targets/rclone"
	"github.com/backupd/backupd/internal/targets/s3"
	"github.com/backupd/backupd/internal/targets/sftp"
	"github.com/backupd/backupd/internal/targets/webdav"
)

// kindOfTarget is what is done with URLs of one scheme.
type kindOfTarget struct {
	check func(u *url.URL) error // says what is wrong with one by itself; nil where package config sees it all
	open  func(ctx context.Context, a *app, u *url.URL) (targets.Store, error)
}

// kindsOfTarget are those that package config lets pass.
var kindsOfTarget = map[string]kindOfTarget{
	"file": {nil, func(_ context.Context, _ *app, u *url.URL) (targets.Store, error) { return local.Open(u.Path) }},
	"s3": {s3.CheckURL, func(ctx context.Context, a *app, u *url.URL) (targets.Store, error) {
		return s3.Open(ctx, u, s3.Options{Log: a.log, Now: a.now})
	}},
	"rclone":  {rclone.CheckURL, func(_ context.Context, _ *app, u *url.URL) (targets.Store, error) { return rclone.Open(u) }},
	"sftp":    {sftp.CheckURL, func(_ context.Context, _ *app, u *url.URL) (targets.Store, error) { return sftp.Open(u) }},
	"webdav":  {webdav.CheckURL, openWebDAV},
	"webdavs": {webdav.CheckURL, openWebDAV},
}

func openWebDAV(_ context.Context, _ *app, u *url.URL) (targets.Store, error) { return webdav.Open(u) }

// openTarget fails for what is wrong with the URL by itself. The place is looked for when it is needed.
func (a *app) openTarget(t config.Target) (backup.Target, error) {
	kind, known := kindsOfTarget[t.URL.Scheme]
	if !known {
		return backup.Target{}, fmt.Errorf("there is no kind of target %q", t.URL.Scheme)
	}
	if kind.check != nil {
		if err := kind.check(t.URL); err != nil {
			return backup.Target{}, err
		}
	}
	store := targets.Lazy(func(ctx context.Context) (targets.Store, error) { return kind.open(ctx, a, t.URL) })
	a.stores[t.Name] = store
	return backup.Target{
		Name:    t.Name,
		Check:   store.Check,
		Catalog: catalog.New(store, a.cache(t), a.host).WithKeys(a.keys).WithRecipients(a.cfg.Recipients).WithFound(a.found(t.Name)).WithOpened(a.opened),
	}, nil
}

// found tells of a target what is remembered of verifying.
func (a *app) found(target string) catalog.Found {
	return func(host, volume string) (map[snapshot.ID]snapshot.Proof, error) {
		known, err := a.ledger.Proofs(host, volume)
		return known[target], err
	}
}

// cache keeps the manifests of a target that is not on this host. It is named after the target's address, so that another target
// under the same name is not mistaken for it.
func (a *app) cache(t config.Target) *catalog.Cache {
	if t.URL.Scheme == "file" {
		return nil
	}
	address := sha256.Sum256([]byte(t.URL.String()))
	return catalog.NewCache(filepath.Join(a.cfg.StateDir, "cache", t.Name+"-"+hex.EncodeToString(address[:8])))
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
