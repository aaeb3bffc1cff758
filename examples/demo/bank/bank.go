package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

const (
	accounts = 10_000
	opening  = 1_000 // balance that each account begins with
	papers   = 1_500 // random bytes that are kept of each account's holder, so that there are some 40 MB to back up
)

// bank is an open database with its accounts.
type bank struct{ db *sql.DB }

// Transfer is one movement of money.
type Transfer struct {
	Number int64 `json:"number"` // from 1, without a gap
	From   int   `json:"from"`
	To     int   `json:"to"`
	Amount int64 `json:"amount"`
}

// open opens a database in WAL mode with every commit durable, as a bank would have it.
func open(path, mode string) (*sql.DB, error) {
	query := url.Values{"mode": {mode}, "_txlock": {"immediate"}, "_pragma": {
		"journal_mode(wal)", "synchronous(full)", "busy_timeout(10000)", "temp_store(memory)", "foreign_keys(on)",
	}}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Opaque: url.PathEscape(path), RawQuery: query.Encode()}).String())
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

const schema = `
CREATE TABLE accounts (
	id      INTEGER PRIMARY KEY,
	papers  TEXT    NOT NULL,
	balance INTEGER NOT NULL
);
CREATE TABLE transfers (
	number INTEGER PRIMARY KEY,
	source INTEGER NOT NULL REFERENCES accounts,
	target INTEGER NOT NULL REFERENCES accounts,
	amount INTEGER NOT NULL
);
WITH RECURSIVE ids(id) AS (SELECT 0 UNION ALL SELECT id + 1 FROM ids WHERE id + 1 < ?)
INSERT INTO accounts SELECT id, hex(randomblob(?)), ? FROM ids;
`

// create makes the database with all accounts in one transaction. One that is there already is left as it is, and an error.
func create(ctx context.Context, path string, papers int) (err error) {
	db, err := open(path, "rwc")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("open accounts in %s: %w", path, err)
	}
	if _, err := tx.ExecContext(ctx, schema, accounts, papers, opening); err != nil {
		return errors.Join(fmt.Errorf("open accounts in %s: %w", path, err), tx.Rollback())
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("open accounts in %s: %w", path, err)
	}
	return nil
}

func openBank(ctx context.Context, path string) (*bank, error) {
	db, err := open(path, "rw")
	if err != nil {
		return nil, err
	}
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), db.Close())
	}
	return &bank{db}, nil
}

// Close closes the database.
func (b *bank) Close() error { return b.db.Close() }

// transfer moves an amount from one account to another, and keeps a record of it, in one transaction. An account may be overdrawn.
func (b *bank) transfer(ctx context.Context, from, to int, amount int64) (Transfer, error) {
	t := Transfer{From: from, To: to, Amount: amount}
	tx, err := b.db.BeginTx(ctx, nil)
	if err != nil {
		return t, fmt.Errorf("begin a transfer: %w", err)
	}
	if t.Number, err = record(ctx, tx, t); err != nil {
		return t, errors.Join(fmt.Errorf("transfer %d from %d to %d: %w", amount, from, to, err), tx.Rollback())
	}
	if err := tx.Commit(); err != nil {
		return t, fmt.Errorf("commit transfer %d: %w", t.Number, err)
	}
	return t, nil
}

func record(ctx context.Context, tx *sql.Tx, t Transfer) (number int64, err error) {
	const move = `UPDATE accounts SET balance = balance + ? WHERE id = ?`
	if _, err := tx.ExecContext(ctx, move, -t.Amount, t.From); err != nil {
		return 0, err
	}
	if _, err := tx.ExecContext(ctx, move, t.Amount, t.To); err != nil {
		return 0, err
	}
	err = tx.QueryRowContext(ctx,
		`INSERT INTO transfers SELECT coalesce(max(number), 0) + 1, ?, ?, ? FROM transfers RETURNING number`,
		t.From, t.To, t.Amount).Scan(&number)
	return number, err
}
