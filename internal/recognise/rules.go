package recognise

import "strings"

// rule says by which names a folder is known as a database's. A slash at the end of a name is for a folder, a star in its last component for
// anything.
type rule struct {
	kind  Kind
	needs []string // all of them; one file alone is the database
	but   []string // none of them
}

// rules name what the servers themselves refuse to start without, or make at once. They are few and sure: what looks like a database and
// is none costs trust. One that is taken away, or asks for more than it did, makes suspect the volumes that it has recognised (package
// suspicion).
var rules = []rule{
	{kind: PostgreSQL, needs: []string{"PG_VERSION", "global/pg_control"}}, // PG_VERSION alone is in the folder of each single database too
	{kind: MariaDB, needs: []string{"aria_log_control", "mysql/"}},
	{kind: MySQL, needs: []string{"ibdata1", "mysql/"}, but: []string{"aria_log_control"}},
	{kind: MongoDB, needs: []string{"WiredTiger", "storage.bson"}},
	{kind: Redis, needs: []string{"appendonlydir/*.manifest"}}, // since 7.0
	{kind: Redis, needs: []string{"appendonly.aof"}},
	{kind: Etcd, needs: []string{"member/snap/db"}},
	{kind: InfluxDB, needs: []string{"influxd.bolt"}},
	{kind: InfluxDB, needs: []string{"meta/meta.db", "data/", "wal/"}}, // 1.x
	{kind: CouchDB, needs: []string{"_dbs.couch"}},
	{kind: SQLServer, needs: []string{"master.mdf"}},
	{kind: Elasticsearch, needs: []string{"node.lock", "_state/"}},
	{kind: Prometheus, needs: []string{"chunks_head/", "wal/"}},
	{kind: RocksDB, needs: []string{"CURRENT", "IDENTITY", "MANIFEST-*"}},
	{kind: LevelDB, needs: []string{"CURRENT", "MANIFEST-*"}, but: []string{"IDENTITY"}},
}

// versions are the files that say which version of a server wrote what is beside them.
var versions = []string{"PG_VERSION", "mariadb_upgrade_info", "mysql_upgrade_info"}

// mark is a name in a folder, or below it, that tells something of the folder.
type mark struct {
	above   string // the components before the last one; "." for none
	name    string // the last component, or what is before the star in it
	after   string // what is after that
	star    bool
	folder  bool
	version bool   // it says which version wrote what is beside it
	alone   Kind   // what it is without any other mark; "" for nothing
	bit     uint64 // its own
}

// recipe is a rule of several marks, as their bits.
type recipe struct {
	kind      Kind
	need, but uint64
}

// marks are all that is looked for.
var marks, recipes = compile()

func compile() (marks []*mark, recipes []recipe) {
	byPath := map[string]*mark{}
	at := func(path string) *mark {
		m := byPath[path]
		if m == nil {
			m = &mark{folder: strings.HasSuffix(path, "/"), bit: 1 << len(marks)}
			m.above, m.name = split(strings.TrimSuffix(path, "/"))
			m.name, m.after, m.star = strings.Cut(m.name, "*")
			byPath[path], marks = m, append(marks, m)
		}
		return m
	}
	bits := func(paths []string) (set uint64) {
		for _, path := range paths {
			set |= at(path).bit
		}
		return set
	}
	for _, r := range rules {
		if len(r.needs) == 1 {
			at(r.needs[0]).alone = r.kind
		} else {
			recipes = append(recipes, recipe{r.kind, bits(r.needs), bits(r.but)})
		}
	}
	for _, path := range versions {
		at(path).version = true
	}
	return marks, recipes
}

// named tells whether a name is the mark's last component.
func (m *mark) named(name string) bool {
	if !m.star {
		return name == m.name
	}
	return len(name) >= len(m.name)+len(m.after) && strings.HasPrefix(name, m.name) && strings.HasSuffix(name, m.after)
}

// tells gives the folder that something with the mark's name tells of, if what it lies in has the right names too.
func (m *mark) tells(path string) (folder string, ok bool) {
	folder, _ = split(path)
	switch m.above {
	case ".":
		return folder, true
	case folder:
		return ".", true
	}
	return strings.CutSuffix(folder, "/"+m.above)
}
