package sqlite_test

import (
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backupd/backupd/internal/sqlite"
)

// made is a file in WAL mode with rows and an index, some of which are only in its log.
func made(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "app 1%.db")
	db, err := sql.Open("sqlite", filepath.Join(dir, "live.db"))
	must(t, err)
	defer db.Close()
	db.SetMaxOpenConns(1)
	for _, statement := range []string{
		"PRAGMA journal_mode=WAL", "PRAGMA wal_autocheckpoint=0", "CREATE TABLE parent (id INTEGER PRIMARY KEY)",
		"CREATE TABLE rows (id INTEGER PRIMARY KEY, name TEXT, parent REFERENCES parent)", "CREATE INDEX named ON rows (name)",
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 5000) INSERT INTO rows SELECT i, 'name ' || i, NULL FROM n",
		"PRAGMA wal_checkpoint(TRUNCATE)", "INSERT INTO rows VALUES (9999, 'late', 7)",
	} {
		_, err := db.Exec(statement)
		must(t, err)
	}
	for from, to := range map[string]string{"live.db": "", "live.db-wal": "-wal"} {
		data, err := os.ReadFile(filepath.Join(dir, from))
		must(t, err)
		must(t, os.WriteFile(path+to, data, 0o600))
	}
	return path
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestASoundFileIsSound(t *testing.T) {
	words, err := sqlite.Check(t.Context(), made(t))
	if err != nil || !strings.HasPrefix(words, "ok, 2 tables; 1 rows refer") { // the one that is only in the log
		t.Errorf("it says %q (%v)", words, err)
	}
}

func TestADamagedFileIsTold(t *testing.T) {
	for name, spoil := range map[string]func([]byte) []byte{
		"a page is overwritten":   func(b []byte) []byte { copy(b[8*4096:9*4096], strings.Repeat("x", 4096)); return b },
		"a byte of an index":      func(b []byte) []byte { return []byte(strings.Replace(string(b), "name 4711", "name 4712", 1)) },
		"the end is missing":      func(b []byte) []byte { return b[:len(b)/2] },
		"it is something else":    func(b []byte) []byte { copy(b, "a photograph, perhaps"); return b },
		"a pointer leads nowhere": func(b []byte) []byte { copy(b[4096*2:], []byte{5, 0, 0, 0xff}); return b },
	} {
		t.Run(name, func(t *testing.T) {
			path := made(t)
			data, err := os.ReadFile(path)
			must(t, err)
			must(t, os.WriteFile(path, spoil(data), 0o600))
			must(t, os.Remove(path+"-wal"))
			if words, err := sqlite.Check(t.Context(), path); !errors.Is(err, sqlite.ErrDamaged) {
				t.Errorf("it says %q (%v)", words, err)
			} else {
				t.Log(err)
			}
		})
	}
}

func TestAFileThatIsNotThereCannotBeAsked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none.db")
	if _, err := sqlite.Check(t.Context(), path); err == nil || errors.Is(err, sqlite.ErrDamaged) {
		t.Errorf("it says %v", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("it has made one")
	}
}
