package catalog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/backupd/backupd/internal/durable"
	"github.com/backupd/backupd/internal/snapshot"
)

// Cache keeps the manifests of one store, which never change, in a folder of this host: a file for each volume, as a store with many
// snapshots has as many of them. Each line after the first is a manifest, with a sum that tells when it was damaged.
//
// What it does not have, or cannot read or write, is fetched: it costs time and no more, so it has no errors. Of two processes that save
// a volume at once one wins, and the other's manifests are fetched again. nil is a cache that keeps nothing.
type Cache struct{ dir string }

// NewCache gives the cache in a folder, which need not be there. The folder belongs to it and to the one store.
func NewCache(dir string) *Cache { return &Cache{dir} }

const (
	cacheFormat = "backupd manifests 1"
	maxCached   = 64 << 20 // bytes of a volume's file: some 50,000 snapshots
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// path is named by a digest, since names of volumes can be as long as a file's may be.
func (c *Cache) path(host, volume string) string {
	return filepath.Join(c.dir, snapshot.FileName(host, volume)+".manifests")
}

func title(host, volume string) []byte {
	return fmt.Appendf(nil, "%s %s\n", cacheFormat, snapshot.VolumePrefix(host, volume))
}

// load gives what is kept of a volume, for snapshot.Decode to look at.
func (c *Cache) load(host, volume string) map[snapshot.ID][]byte {
	if c == nil {
		return nil
	}
	path := c.path(host, volume)
	if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() || info.Size() > maxCached {
		return nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	text, ok := bytes.CutPrefix(text, title(host, volume))
	if !ok {
		return nil
	}
	known := make(map[snapshot.ID][]byte)
	for line := range bytes.Lines(text) {
		if id, data, ok := parseLine(line); ok {
			known[id] = data
		}
	}
	return known
}

// sweep forgets the volumes of a host that have no snapshots any more.
func (c *Cache) sweep(host string, volumes map[string]bool) {
	if c == nil {
		return
	}
	entries, _ := os.ReadDir(c.dir) // it need not be there
	if len(entries) <= len(volumes) {
		return
	}
	there := make(map[string]bool, len(volumes))
	for volume := range volumes {
		there[c.path(host, volume)] = true
	}
	for _, e := range entries {
		path := filepath.Join(c.dir, e.Name())
		if !there[path] && isOf(path, host) {
			_ = os.Remove(path)
		}
	}
}

// isOf tells whether a file keeps manifests of the host.
func isOf(path, host string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	want := []byte(cacheFormat + " " + snapshot.HostPrefix(host))
	got := make([]byte, len(want))
	_, err = io.ReadFull(f, got)
	return err == nil && bytes.Equal(got, want)
}

func parseLine(line []byte) (id snapshot.ID, data []byte, ok bool) {
	sum, rest, _ := bytes.Cut(line, []byte(" "))
	name, data, ok := bytes.Cut(rest, []byte(" "))
	if !ok || !bytes.Equal(sum, checksum(rest)) {
		return "", nil, false
	}
	id, err := snapshot.ParseID(string(name))
	return id, data, err == nil
}

// checksum is of what comes after it in a line, its end too.
func checksum(rest []byte) []byte { return fmt.Appendf(nil, "%08x", crc32.Checksum(rest, castagnoli)) }

// save keeps these manifests of a volume, and no others.
func (c *Cache) save(host, volume string, manifests map[snapshot.ID][]byte) {
	if c == nil {
		return
	}
	text := bytes.NewBuffer(title(host, volume))
	for _, id := range slices.Sorted(maps.Keys(manifests)) {
		rest := bytes.NewBufferString(string(id) + " ")
		if json.Compact(rest, manifests[id]) != nil {
			continue
		}
		rest.WriteByte('\n')
		text.Write(checksum(rest.Bytes()))
		text.WriteByte(' ')
		text.Write(rest.Bytes())
	}
	if text.Len() <= maxCached && os.MkdirAll(c.dir, 0o700) == nil {
		_ = durable.WriteFile(c.path(host, volume), text.Bytes(), 0o600)
	}
}
