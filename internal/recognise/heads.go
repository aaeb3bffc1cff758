package recognise

import (
	"bytes"
	"strings"
)

// mayRDB tells whether a file may be a dump of Redis, by its name. What lies beside the manifest of an append-only file belongs to that, and
// what is called temp-*.rdb is not done.
func mayRDB(path, name string) bool {
	folder, _ := split(path)
	_, in := split(folder)
	return strings.HasSuffix(name, ".rdb") && !strings.HasPrefix(name, "temp-") && in != "appendonlydir"
}

// isRDB tells whether a file begins as https://rdb.fnordig.de/file_format.html has it, or as Valkey's since 9.0.
func isRDB(head []byte) bool {
	return bytes.HasPrefix(head, []byte("REDIS0")) || bytes.HasPrefix(head, []byte("VALKEY"))
}

// rdbVersion gives the version of the server, which is the first of the auxiliary fields that follow the nine bytes of magic and format:
// an opcode, and name and value with their lengths in one byte, if they are short.
func rdbVersion(head []byte) string {
	const magic = 9
	if len(head) < magic {
		return ""
	}
	for _, name := range []string{"redis-ver", "valkey-ver"} {
		value, ok := bytes.CutPrefix(head[magic:], append([]byte{0xfa, byte(len(name))}, name...))
		if ok && len(value) > 0 && len(value) > int(value[0]) {
			return version(value[1 : 1+value[0]])
		}
	}
	return ""
}

// maySQLite tells whether a file may be a database of SQLite, by its size: it is of whole pages, and there is at least one.
func maySQLite(size int64) bool { return size > 0 && size%512 == 0 }

// isSQLite tells whether a file begins as https://sqlite.org/fileformat2.html has it.
func isSQLite(head []byte) bool { return bytes.HasPrefix(head, []byte("SQLite format 3\x00")) }

// version gives what is plainly a version, and "" for anything else: it is shown to people.
func version(text []byte) string {
	const longest = 32
	v := strings.TrimSpace(string(text))
	plain := func(r rune) bool {
		return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || strings.ContainsRune(".-+~", r)
	}
	if v == "" || len(v) > longest || strings.ContainsFunc(v, func(r rune) bool { return !plain(r) }) {
		return ""
	}
	return v
}
