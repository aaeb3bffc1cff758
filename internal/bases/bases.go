// Package bases keeps on this host the index of the last archive of each volume, for the next archive to lean on: so neither a target nor a
// private key is needed for it. It is a cache: what is lost, or not what it should be, means that more is read, and never anything wrong, since an
// index is believed only if it is the one that the manifests of the targets vouch for.
package bases

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/durable"
	"github.com/backupd/backupd/internal/snapshot"
)

// Bases is a folder of them. Who works on a volume has its lock.
type Bases struct{ Dir string }

// Kept is what is kept of a volume's last archive besides its index.
type Kept struct {
	Archives   []snapshot.Archive `json:"archives"`   // that the snapshot is read from, the one with the index first
	Plain      int64              `json:"plain"`      // bytes of that archive, not encrypted
	Data       int64              `json:"data"`       // bytes of it before its index
	Recipients string             `json:"recipients"` // fingerprint of those whom it is encrypted to
}

// kept is Kept as it is stored.
type kept struct {
	Format string `json:"format"`
	File   string `json:"file"` // name of the file with the index
	Kept
}

const (
	format   = "backupd base 1"
	maxKept  = 4 << 20 // bytes of a description
	indexEnd = ".index"
	keptEnd  = ".json"
)

// Base is an archive that the next one of its volume may lean on.
type Base struct {
	archive.Base
	Archives   []snapshot.Archive // that its snapshot is read from, the one with the index first
	Recipients string             // fingerprint of those whom it is encrypted to
	io.Closer
}

// Open gives what the next archive of a volume may lean on; errors.Is(err, fs.ErrNotExist) holds for none.
func (b Bases) Open(ctx context.Context, host, volume string) (Base, error) {
	k, err := b.read(filepath.Join(b.Dir, snapshot.FileName(host, volume)+keptEnd))
	if err != nil {
		return Base{}, err
	}
	f, err := os.OpenFile(filepath.Join(b.Dir, k.File), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return Base{}, err
	}
	r, err := archive.Open(ctx, archive.IndexSource(f, k.Data), k.Plain, archive.ReaderOptions{})
	if err == nil && snapshot.Digest(r.Contents().Directory) != k.Archives[0].Directory {
		r.Close()
		err = errors.New("it is another index than was kept")
	}
	if err != nil {
		return Base{}, errors.Join(fmt.Errorf("open the index of archive %s: %w", k.Archives[0].ID, err), f.Close())
	}
	return Base{archive.NewBase(string(k.Archives[0].ID), r), k.Archives, k.Recipients, opened{r, f}}, nil
}

type opened struct {
	reader *archive.Reader
	*os.File
}

func (o opened) Close() error {
	o.reader.Close()
	return o.File.Close()
}

func (b Bases) read(path string) (k kept, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return k, err
	}
	defer f.Close()
	if err := json.NewDecoder(io.LimitReader(f, maxKept)).Decode(&k); err != nil {
		return k, fmt.Errorf("read %s: %w", path, err)
	}
	if k.Format != format || len(k.Archives) == 0 || k.Data < 0 || k.Plain < k.Data || !filepath.IsLocal(k.File) || strings.Contains(k.File, "/") {
		return k, fmt.Errorf("read %s: it is nothing that this program has written", path)
	}
	return k, nil
}

// Draft is an index on its way into the cache.
type Draft struct {
	bases Bases
	name  string
	file  *os.File
	err   error // of writing
}

// Begin begins to keep the index of a volume's next archive.
func (b Bases) Begin(host, volume string) (*Draft, error) {
	if err := os.MkdirAll(b.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of indexes: %w", err)
	}
	d := &Draft{bases: b, name: snapshot.FileName(host, volume)}
	var err error
	if d.file, err = os.OpenFile(filepath.Join(b.Dir, d.name+"-"+rand.Text()+indexEnd), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return nil, fmt.Errorf("keep an index: %w", err)
	}
	return d, nil
}

// Write never fails: an index that cannot be kept is told by Keep, and keeps no archive from being made.
func (d *Draft) Write(p []byte) (int, error) {
	if d.err == nil {
		_, d.err = d.file.Write(p)
	}
	return len(p), nil
}

// Keep keeps the index, in the place of the one before.
func (d *Draft) Keep(what Kept) error {
	k := kept{format, filepath.Base(d.file.Name()), what}
	err := d.err
	if err == nil {
		err = d.file.Sync()
	}
	err = errors.Join(err, d.file.Close())
	var data []byte
	if err == nil {
		data, err = json.Marshal(k)
	}
	if err == nil {
		err = durable.WriteFile(filepath.Join(d.bases.Dir, d.name+keptEnd), data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("keep the index of archive %s: %w", k.Archives[0].ID, err)
	}
	d.file = nil
	return d.bases.sweep(d.name, k.File)
}

// Drop gives up what was not kept.
func (d *Draft) Drop() {
	if d.file != nil {
		_ = d.file.Close() // what is in it is of no use
		_ = os.Remove(d.file.Name())
		d.file = nil
	}
}

// sweep removes the indexes of a volume but one, also those that killed processes have left.
func (b Bases) sweep(name, but string) error {
	left, err := filepath.Glob(filepath.Join(b.Dir, name+"-*"+indexEnd))
	errs := []error{err}
	for _, path := range left {
		if filepath.Base(path) != but {
			errs = append(errs, os.Remove(path))
		}
	}
	return errors.Join(errs...)
}
