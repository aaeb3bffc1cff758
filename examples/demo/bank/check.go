package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"time"
)

// promise is what a database has to keep: the transfers that were acknowledged before a moment.
type promise struct {
	acks  []ack
	until time.Time
}

// check asks the database whether it is whole, and the books whether they agree; and whether it keeps a promise, if there is one.
// It says what it found; what is wrong is an error.
func check(ctx context.Context, path string, made *promise, out io.Writer) (err error) {
	b, err := openBank(ctx, path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	if err := b.intact(ctx); err != nil {
		return err
	}
	fmt.Fprintln(out, "integrity_check:  ok")
	transfers, err := b.balanced(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "balances:         %d accounts sum up to %d, and agree with all %d transfers\n", accounts, accounts*opening, transfers)
	if made == nil {
		return nil
	}
	due, err := b.keeps(ctx, *made)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "acknowledged:     all %d transfers of before %s are there\n", due, made.until.Format(time.RFC3339Nano))
	fmt.Fprintf(out, "longest pause:    %v without a transfer, among %d\n", longestPause(made.acks).Round(time.Millisecond), len(made.acks))
	return nil
}

// intact lets the database check its own structure.
func (b *bank) intact(ctx context.Context) error {
	var verdict string
	if err := b.db.QueryRowContext(ctx, `PRAGMA integrity_check`).Scan(&verdict); err != nil {
		return fmt.Errorf("check integrity: %w", err)
	}
	if verdict != "ok" {
		return fmt.Errorf("check integrity: %s", verdict)
	}
	return nil
}

// balanced proves that no money was made or lost, that each balance is what the transfers make of it, and that no transfer is
// missing from their row. It gives the number of transfers.
func (b *bank) balanced(ctx context.Context) (transfers int64, err error) {
	var count, sum, last, wrong int64
	err = b.db.QueryRowContext(ctx, `
		WITH moved(id, amount) AS (
			SELECT source, -amount FROM transfers UNION ALL SELECT target, amount FROM transfers
		), expected(id, balance) AS (
			SELECT id, ? + sum(amount) FROM (SELECT id, 0 AS amount FROM accounts UNION ALL SELECT id, amount FROM moved) GROUP BY id
		)
		SELECT count(*), sum(a.balance), sum(a.balance IS NOT e.balance),
			(SELECT count(*) FROM transfers), (SELECT coalesce(max(number), 0) FROM transfers)
		FROM accounts a LEFT JOIN expected e USING (id)`, opening).Scan(&count, &sum, &wrong, &transfers, &last)
	switch {
	case err != nil:
		return 0, fmt.Errorf("add up balances: %w", err)
	case count != accounts || sum != accounts*opening:
		return 0, fmt.Errorf("%d accounts sum up to %d, want %d and %d", count, sum, accounts, accounts*opening)
	case wrong > 0:
		return 0, fmt.Errorf("%d balances do not agree with the transfers", wrong)
	case transfers != last:
		return 0, fmt.Errorf("there are %d transfers, and the last one has number %d", transfers, last)
	}
	return transfers, nil
}

// keeps looks for every transfer that was promised, and gives their number. None at all would prove nothing, so it is an error.
func (b *bank) keeps(ctx context.Context, made promise) (due int, err error) {
	stmt, err := b.db.PrepareContext(ctx, `SELECT number, source, target, amount FROM transfers WHERE number = ?`)
	if err != nil {
		return 0, fmt.Errorf("look for transfers: %w", err)
	}
	defer func() { err = errors.Join(err, stmt.Close()) }()
	for _, a := range made.acks {
		if !a.At.Before(made.until) {
			break
		}
		var got Transfer
		err := stmt.QueryRowContext(ctx, a.Number).Scan(&got.Number, &got.From, &got.To, &got.Amount)
		if errors.Is(err, sql.ErrNoRows) {
			return 0, fmt.Errorf("transfer %d, acknowledged at %v, is lost", a.Number, a.At)
		}
		if err != nil {
			return 0, fmt.Errorf("look for transfer %d: %w", a.Number, err)
		}
		if got != a.Transfer {
			return 0, fmt.Errorf("transfer %d is %+v, and %+v was acknowledged", a.Number, got, a.Transfer)
		}
		due++
	}
	if due == 0 {
		return 0, fmt.Errorf("nothing was acknowledged before %v, so nothing is proven", made.until)
	}
	return due, nil
}
