package recognise_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/backupd/backupd/internal/recognise"
)

// tree makes a tree of files with this content, and of folders, whose names end with a slash.
func tree(files map[string]string) fstest.MapFS {
	t := fstest.MapFS{}
	for name, content := range files {
		if folder, ok := strings.CutSuffix(name, "/"); ok {
			t[folder] = &fstest.MapFile{Mode: fs.ModeDir | 0o755}
		} else {
			t[name] = &fstest.MapFile{Data: []byte(content), Mode: 0o644}
		}
	}
	return t
}

// Whole pages, as far as that matters.
var (
	sqlite  = "SQLite format 3\x00" + strings.Repeat("\x00", 512-16)
	cluster = map[string]string{"PG_VERSION": "15\n", "global/pg_control": "?", "base/5/PG_VERSION": "15\n", "base/5/1259": strings.Repeat("x", 8192)}
	mariadb = map[string]string{"aria_log_control": "?", "ibdata1": "?", "mysql/db.MAD": "?", "mariadb_upgrade_info": "10.11.6-MariaDB"}
	mysql   = map[string]string{"ibdata1": "?", "mysql.ibd": "?", "mysql/general_log.CSV": "", "mysql_upgrade_info": "8.0.36"}
)

// at gives the same files below a folder.
func at(folder string, files map[string]string) map[string]string {
	below := map[string]string{}
	for name, content := range files {
		below[folder+"/"+name] = content
	}
	return below
}

func join(all ...map[string]string) map[string]string {
	joined := map[string]string{}
	for _, files := range all {
		for name, content := range files {
			joined[name] = content
		}
	}
	return joined
}

func TestWhatIsRecognised(t *testing.T) {
	type finds = []recognise.Find
	for name, test := range map[string]struct {
		files map[string]string
		want  finds
	}{
		"nothing":      {nil, nil},
		"no database":  {map[string]string{"file": "data", "mysql/readme": "how to", "CURRENT": "x"}, nil},
		"PostgreSQL":   {cluster, finds{{Kind: recognise.PostgreSQL, Folder: ".", Version: "15"}}},
		"PostgreSQL 9": {map[string]string{"PG_VERSION": "9.6\n", "global/pg_control": "?"}, finds{{Kind: recognise.PostgreSQL, Folder: ".", Version: "9.6"}}},
		"one below":    {at("pgdata", cluster), finds{{Kind: recognise.PostgreSQL, Folder: "pgdata", Version: "15"}}},
		"two of them": {join(at("15/main", cluster), at("16/main", cluster)), finds{
			{Kind: recognise.PostgreSQL, Folder: "15/main", Version: "15"}, {Kind: recognise.PostgreSQL, Folder: "16/main", Version: "15"},
		}},
		"a single database of a cluster":     {map[string]string{"base/5/PG_VERSION": "15\n"}, nil},
		"pg_control that is a folder":        {map[string]string{"PG_VERSION": "15\n", "global/pg_control/": ""}, nil},
		"a version that is none":             {join(cluster, map[string]string{"PG_VERSION": "\x1b[2J15"}), finds{{Kind: recognise.PostgreSQL, Folder: "."}}},
		"MariaDB":                            {mariadb, finds{{Kind: recognise.MariaDB, Folder: ".", Version: "10.11.6-MariaDB"}}},
		"MySQL":                              {mysql, finds{{Kind: recognise.MySQL, Folder: ".", Version: "8.0.36"}}},
		"a file called mysql":                {map[string]string{"ibdata1": "?", "mysql": "?"}, nil},
		"MongoDB":                            {map[string]string{"WiredTiger": "?", "storage.bson": "?", "collection-0.wt": "?"}, finds{{Kind: recognise.MongoDB, Folder: "."}}},
		"SQLite under any name":              {map[string]string{"app/state": sqlite, "app/state-wal": "?"}, finds{{Kind: recognise.SQLite, Folder: "app", File: "state"}}},
		"an empty file":                      {map[string]string{"app.sqlite": ""}, nil},
		"half a page of SQLite":              {map[string]string{"app.sqlite": sqlite[:300]}, nil},
		"a dump of Redis":                    {map[string]string{"dump.rdb": "REDIS0011\xfa\x09redis-ver\x067.0.15\xfa"}, finds{{Kind: recognise.Redis, Folder: ".", File: "dump.rdb", Version: "7.0.15"}}},
		"a dump of Valkey":                   {map[string]string{"dump.rdb": "VALKEY080\xfa\x0avalkey-ver\x059.0.0"}, finds{{Kind: recognise.Redis, Folder: ".", File: "dump.rdb", Version: "9.0.0"}}},
		"an old dump, which has no version":  {map[string]string{"dump.rdb": "REDIS0006\xfe\x00"}, finds{{Kind: recognise.Redis, Folder: ".", File: "dump.rdb"}}},
		"a dump whose version is cut off":    {map[string]string{"dump.rdb": "REDIS0011\xfa\x09redis-ver\x067.0"}, finds{{Kind: recognise.Redis, Folder: ".", File: "dump.rdb"}}},
		"a dump that is none, and one begun": {map[string]string{"dump.rdb": "?", "temp-12.rdb": "REDIS0011"}, nil},
		"Redis with its log": {
			map[string]string{"appendonlydir/appendonly.aof.manifest": "file", "appendonlydir/appendonly.aof.1.base.rdb": "REDIS0011", "appendonlydir/appendonly.aof.1.incr.aof": ""},
			finds{{Kind: recognise.Redis, Folder: ".", File: "appendonlydir/appendonly.aof.manifest"}},
		},
		"an older Redis with its log": {map[string]string{"data/appendonly.aof": "*2"}, finds{{Kind: recognise.Redis, Folder: "data", File: "appendonly.aof"}}},
		"etcd":                        {map[string]string{"member/snap/db": "?", "member/wal/0.wal": "?"}, finds{{Kind: recognise.Etcd, Folder: ".", File: "member/snap/db"}}},
		"InfluxDB 2":                  {map[string]string{"influxd.bolt": "?", "engine/data/": ""}, finds{{Kind: recognise.InfluxDB, Folder: ".", File: "influxd.bolt"}}},
		"InfluxDB 1":                  {map[string]string{"meta/meta.db": "?", "data/": "", "wal/": ""}, finds{{Kind: recognise.InfluxDB, Folder: "."}}},
		"CouchDB":                     {map[string]string{"_dbs.couch": "?"}, finds{{Kind: recognise.CouchDB, Folder: ".", File: "_dbs.couch"}}},
		"SQL Server":                  {map[string]string{"data/master.mdf": "?"}, finds{{Kind: recognise.SQLServer, Folder: "data", File: "master.mdf"}}},
		"Elasticsearch":               {map[string]string{"node.lock": "", "_state/": "", "indices/": ""}, finds{{Kind: recognise.Elasticsearch, Folder: "."}}},
		"Prometheus":                  {map[string]string{"wal/": "", "chunks_head/": ""}, finds{{Kind: recognise.Prometheus, Folder: "."}}},
		"RocksDB":                     {map[string]string{"CURRENT": "MANIFEST-000004\n", "IDENTITY": "?", "MANIFEST-000004": "?"}, finds{{Kind: recognise.RocksDB, Folder: "."}}},
		"LevelDB":                     {map[string]string{"CURRENT": "MANIFEST-000004\n", "MANIFEST-000004": "?"}, finds{{Kind: recognise.LevelDB, Folder: "."}}},
		"one within another":          {join(cluster, at("inner", mysql)), finds{{Kind: recognise.MySQL, Folder: "inner", Version: "8.0.36"}, {Kind: recognise.PostgreSQL, Folder: ".", Version: "15"}}},
		"names that begin alike":      {map[string]string{"a/PG_VERSION": "15\n", "ab/global/pg_control": "?"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := recognise.Tree(t.Context(), tree(test.files))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error("finds (-want +got):\n" + diff)
			}
		})
	}
}

func TestManyDatabasesOfAKindHideNoOther(t *testing.T) {
	files := join(at("z/y", cluster), map[string]string{"top": sqlite})
	for i := range 1000 {
		files[fmt.Sprintf("users/%03d/state", i)] = sqlite
		files[fmt.Sprintf("fake/%03d/PG_VERSION", i)] = "15\n"
	}
	got, err := recognise.Tree(t.Context(), tree(files))
	if err != nil {
		t.Fatal(err)
	}
	if kinds := recognise.Kinds(got); !cmp.Equal(kinds, []recognise.Kind{recognise.PostgreSQL, recognise.SQLite}) || len(got) != 9 {
		t.Errorf("kinds %q in %d finds, want both in nine", kinds, len(got))
	}
	if top := (recognise.Find{Kind: recognise.SQLite, Folder: ".", File: "top"}); !cmp.Equal(got[1], top) {
		t.Errorf("the first of SQLite is %v, want %v", got[1], top)
	}
}

func TestAFolderOfThisMachine(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"db/state": sqlite, "outside/state": sqlite} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, link := range []string{"state2", "folder"} { // which are not followed
		if err := os.Symlink("../outside/state", filepath.Join(dir, "db", link)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := recognise.Tree(t.Context(), os.DirFS(filepath.Join(dir, "db")))
	want := []recognise.Find{{Kind: recognise.SQLite, Folder: ".", File: "state"}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("finds (-want +got, %v):\n%s", err, diff)
	}
	if _, err := recognise.Tree(t.Context(), os.DirFS(filepath.Join(dir, "nowhere"))); err == nil {
		t.Error("a folder that is not there holds no database, without an error")
	}
}

// Where files are cloned while an archive is made, their first bytes come when the walk is over.
func TestFirstBytesMayComeLate(t *testing.T) {
	o := recognise.New()
	for _, path := range []string{"app/state", "dump.rdb"} {
		if !o.See(path, false, 512) {
			t.Errorf("the first bytes of %s are not wanted", path)
		}
	}
	o.See("zoo", false, 3)
	o.Head("app/state", []byte(sqlite)[:recognise.HeadSize])
	o.Head("dump.rdb", []byte("REDIS0011"))
	want := []recognise.Find{{Kind: recognise.Redis, Folder: ".", File: "dump.rdb"}, {Kind: recognise.SQLite, Folder: "app", File: "state"}}
	if diff := cmp.Diff(want, o.Finds()); diff != "" {
		t.Error("finds (-want +got):\n" + diff)
	}
}

// FuzzObserver shows it names and first bytes that somebody has made up, in any order.
func FuzzObserver(f *testing.F) {
	f.Add("PG_VERSION\nglobal/pg_control\nmysql/\nibdata1\nx/CURRENT\nx/MANIFEST-1\ndump.rdb", []byte("REDIS0011\xfa\x09redis-ver\x067.0.15"))
	f.Add("a/b/c/appendonlydir/x.manifest\n../..\n/\n//PG_VERSION\n.\n", []byte(sqlite))
	f.Add(strings.Repeat("PG_VERSION/global/", 40)+"pg_control", []byte{0xfa, 9})
	f.Fuzz(func(t *testing.T, names string, head []byte) {
		o := recognise.New()
		for name := range strings.SplitSeq(names, "\n") {
			name = strings.TrimLeft(name, "/") // paths are relative
			folder := strings.HasSuffix(name, "/")
			if o.See(strings.TrimSuffix(name, "/"), folder, 512) {
				o.Head(name, head[:min(len(head), recognise.HeadSize)])
			}
		}
		count := map[recognise.Kind]int{}
		for _, find := range o.Finds() {
			if count[find.Kind]++; count[find.Kind] > 8 {
				t.Errorf("more than eight of %s", find.Kind)
			}
			if len(find.Folder) > 512 || len(find.File) > 512 || find.Folder == "" || len(find.Version) > 32 {
				t.Errorf("%+v", find)
			}
			if strings.ContainsFunc(find.Version, func(r rune) bool { return r <= ' ' || r > '~' }) {
				t.Errorf("version %q", find.Version)
			}
		}
	})
}

func BenchmarkSee(b *testing.B) {
	paths := make([]string, 1000)
	for i := range paths {
		paths[i] = fmt.Sprintf("base/16384/%d", 16000+i)
	}
	o := recognise.New()
	o.See("PG_VERSION", false, 3)
	for i := 0; b.Loop(); i++ {
		o.See(paths[i%len(paths)], false, 8192)
	}
}
