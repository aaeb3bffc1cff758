// Package recognise tells which databases a tree of files holds, by what lies in it and not by who uses it.
//
// It is told of files one after the other, and opens none; so it works on a folder and on an archive in the making alike. Whoever
// arranges names so that it recognises what is not there gets that, and no more: what is found is bounded in number and length, and memory
// does not grow with the files. To ask a database anything is left to others.
package recognise

import (
	"cmp"
	"slices"
	"strings"
)

// Kind is a kind of database.
type Kind string

// The kinds that are recognised. What is compatible (Valkey, Percona's servers, FerretDB's SQLite) goes by the name of what it is compatible with.
const (
	PostgreSQL    Kind = "postgresql"
	MariaDB       Kind = "mariadb"
	MySQL         Kind = "mysql"
	MongoDB       Kind = "mongodb"
	Redis         Kind = "redis"
	SQLite        Kind = "sqlite"
	Etcd          Kind = "etcd"
	InfluxDB      Kind = "influxdb"
	CouchDB       Kind = "couchdb"
	SQLServer     Kind = "sqlserver"
	Elasticsearch Kind = "elasticsearch"
	Prometheus    Kind = "prometheus"
	RocksDB       Kind = "rocksdb"
	LevelDB       Kind = "leveldb"
)

// Find is a database that a tree holds. A server of which several files can be read alone, such as Redis, is several.
type Find struct {
	Kind    Kind   `json:"kind"`
	Folder  string `json:"folder,omitempty"`  // that holds it, relative to the root of the tree, which is "."
	File    string `json:"file,omitempty"`    // within the folder, where it is one file or one file says what belongs to it
	Version string `json:"version,omitempty"` // as the data have it, such as "15"; "" where they do not tell
}

// Limits of what is found, which keep names that somebody has made up from costing memory.
const (
	most    = 8   // of one kind: those nearest to the root
	longest = 512 // bytes of a path
	deepest = 64  // folders one in another that may all be databases
)

// HeadSize is how many of a file's first bytes are looked at.
const HeadSize = 64

// Observer recognises what is in a tree, whose files it is shown in the order of a walk: all that is below a folder comes in one piece.
type Observer struct {
	open  []*candidate // all are above, or are, the folder that the walk is in
	finds map[Kind][]Find
}

// New gives an Observer that has seen nothing.
func New() *Observer { return &Observer{finds: map[Kind][]Find{}} }

// See is told of a folder, or of a file with its size in bytes, by its path from the root, with slashes. It tells whether it wants the file's first
// bytes, for Head. Of anything else that has a name, such as a symlink, it must not be told.
func (o *Observer) See(path string, folder bool, size int64) (head bool) {
	o.leave(path)
	if path == "." || len(path) > longest {
		return false
	}
	base := path[strings.LastIndexByte(path, '/')+1:]
	for _, m := range marks {
		if m.folder != folder || !m.named(base) {
			continue
		}
		if of, ok := m.tells(path); ok {
			o.mark(of, path, m)
			head = head || m.version
		}
	}
	return head || !folder && (maySQLite(size) || mayRDB(path, base))
}

// Head is told the first bytes of a file, HeadSize of them or what there is. That may be later than other files were seen.
func (o *Observer) Head(path string, head []byte) {
	folder, file := split(path)
	switch {
	case isSQLite(head):
		o.found(Find{Kind: SQLite, Folder: folder, File: file})
	case mayRDB(path, file) && isRDB(head):
		o.found(Find{Kind: Redis, Folder: folder, File: file, Version: rdbVersion(head)})
	}
	for _, m := range marks {
		if m.version && m.name == file {
			o.candidate(folder).version = version(head)
		}
	}
}

// Finds gives what was recognised, at most eight of each kind, by kind, folder and file. The walk is over then.
func (o *Observer) Finds() []Find {
	o.leave("")
	var all []Find
	for _, finds := range o.finds {
		all = append(all, finds...)
	}
	slices.SortFunc(all, func(a, b Find) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Folder, b.Folder), cmp.Compare(a.File, b.File))
	})
	return all
}

// Kinds gives the kinds of what was found, each once.
func Kinds(finds []Find) []Kind {
	var kinds []Kind
	for _, f := range finds {
		kinds = append(kinds, f.Kind)
	}
	slices.Sort(kinds)
	return slices.Compact(kinds)
}

// mark notes what a name tells of a folder.
func (o *Observer) mark(folder, path string, m *mark) {
	if m.alone != "" {
		o.found(Find{Kind: m.alone, Folder: folder, File: strings.TrimPrefix(path, folder+"/")})
		return
	}
	o.candidate(folder).seen |= m.bit
}

// found keeps a find, and of too many of a kind those nearest to the root.
func (o *Observer) found(f Find) {
	finds := o.finds[f.Kind]
	if len(finds) < most {
		o.finds[f.Kind] = append(finds, f)
		return
	}
	farthest := slices.MaxFunc(finds, byDepth)
	if byDepth(f, farthest) < 0 {
		finds[slices.Index(finds, farthest)] = f
	}
}

func byDepth(a, b Find) int { return cmp.Compare(depth(a.Folder), depth(b.Folder)) }

func depth(folder string) int {
	if folder == "." {
		return 0
	}
	return 1 + strings.Count(folder, "/")
}

// split gives the folder that a path is in, and the name there.
func split(path string) (folder, name string) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return ".", path
	}
	return path[:i], path[i+1:]
}
