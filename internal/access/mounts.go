package access

import (
	"bufio"
	"fmt"
	"os"
	"strings"
)

// isMountPoint tells whether the mount table has a mount at exactly that path. The format is that of proc_pid_mountinfo(5).
func isMountPoint(table, path string) (bool, error) {
	f, err := os.Open(table)
	if err != nil {
		return false, fmt.Errorf("read the mount table: %w", err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20) // overlay mounts name all their layers
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) > 4 && unescape(fields[4]) == path {
			return true, nil
		}
	}
	if err := lines.Err(); err != nil {
		return false, fmt.Errorf("read the mount table: %w", err)
	}
	return false, nil
}

// unescape undoes what the kernel does to blanks, tabs, newlines, backslashes and the like: a backslash and three octal digits.
func unescape(field string) string {
	if !strings.Contains(field, `\`) {
		return field
	}
	var b strings.Builder
	for i := 0; i < len(field); i++ {
		if code, ok := octal(field[i:]); ok {
			b.WriteByte(code)
			i += 3
			continue
		}
		b.WriteByte(field[i])
	}
	return b.String()
}

// octal reads an escape at the beginning of s.
func octal(s string) (code byte, ok bool) {
	if len(s) < 4 || s[0] != '\\' || s[1] > '3' {
		return 0, false
	}
	for _, digit := range []byte(s[1:4]) {
		if digit < '0' || digit > '7' {
			return 0, false
		}
		code = code<<3 | (digit - '0')
	}
	return code, true
}
