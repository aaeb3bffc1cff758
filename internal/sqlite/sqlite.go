// Package sqlite asks a SQLite file whether it is sound; it is the only door to SQLite. Whoever gives it a file that somebody may have made up
// gives it a process and a container of its own, too.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"

	driver "modernc.org/sqlite"
)

// ErrDamaged marks a file that is not what SQLite would have written.
var ErrDamaged = errors.New("damaged")

// What SQLite says of a file that is none of its own (https://sqlite.org/rescode.html).
const (
	ioerr   = 10
	corrupt = 11
	notADB  = 26
)

// Check asks a file, once what its journal or write-ahead log has is in it, and gives the answer in words. An error that is not ErrDamaged says that
// it could not be asked, as when it takes functions that only its own program has.
func Check(ctx context.Context, path string) (words string, err error) {
	address := url.URL{Scheme: "file", Path: path, RawQuery: "mode=rw&_pragma=trusted_schema(0)&_pragma=cell_size_check(1)&_pragma=busy_timeout(5000)"}
	db, err := sql.Open("sqlite", address.String())
	if err != nil {
		return "", fmt.Errorf("open: %w", err)
	}
	db.SetMaxOpenConns(1)
	defer func() { err = errors.Join(err, sorted(db.Close())) }()
	return check(ctx, db)
}

func check(ctx context.Context, db *sql.DB) (string, error) {
	said, err := lines(ctx, db, "PRAGMA integrity_check(20)")
	if err != nil {
		return "", fmt.Errorf("integrity_check: %w", sorted(err))
	}
	if text := strings.Join(said, "\n"); text != "ok" {
		return "", fmt.Errorf("integrity_check: %w: %s", ErrDamaged, text)
	}
	var tables, orphans int64
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema WHERE type = 'table'").Scan(&tables); err != nil {
		return "", fmt.Errorf("count tables: %w", sorted(err))
	}
	// Of no consequence to the verdict: unless a program asks for it, SQLite does not enforce them.
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM pragma_foreign_key_check").Scan(&orphans); err != nil {
		return "", fmt.Errorf("foreign_key_check: %w", sorted(err))
	}
	words := fmt.Sprintf("ok, %d tables", tables)
	if orphans > 0 {
		words += fmt.Sprintf("; %d rows refer to others that are not there, which SQLite permits by itself", orphans)
	}
	return words, nil
}

func lines(ctx context.Context, db *sql.DB, query string) (said []string, err error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			return nil, err
		}
		said = append(said, line)
	}
	return said, rows.Err()
}

// sorted marks errors that the file is to blame for.
func sorted(err error) error {
	var e *driver.Error
	if errors.As(err, &e) {
		switch e.Code() & 0xff {
		case ioerr, corrupt, notADB:
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
	}
	return err
}
