package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// newBank is a bank that has made some transfers, one each second from noon on, and has acknowledged them.
func newBank(t *testing.T, transfers int) (b *bank, path string, acks []ack) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "a bank?.db") // a name that a careless URL would cut
	if err := create(t.Context(), path, 10); err != nil {
		t.Fatal(err)
	}
	b, err := openBank(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	for i := range transfers {
		moved, err := b.transfer(t.Context(), i%accounts, i*i%accounts, int64(i+1))
		if err != nil {
			t.Fatal(err)
		}
		acks = append(acks, ack{Transfer: moved, At: noon.Add(time.Duration(i) * time.Second)})
	}
	return b, path, acks
}

// image copies the files of a database as they lie on disk, log and all, as the freezing of its process would leave them.
func image(t *testing.T, path string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy.db")
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to+suffix, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

func TestAnImageOfTheRunningBankKeepsItsPromise(t *testing.T) {
	_, path, acks := newBank(t, 20)
	var out strings.Builder
	if err := check(t.Context(), image(t, path), &promise{acks, noon.Add(15 * time.Second)}, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"integrity_check:  ok", "agree with all 20 transfers", "all 15 transfers", "1s without a transfer"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("check does not say %q:\n%s", want, out.String())
		}
	}
}

func TestCheckFindsWhatIsWrong(t *testing.T) {
	for name, c := range map[string]struct {
		sabotage string // SQL
		until    time.Time
		want     string
	}{
		"money made":               {sabotage: `UPDATE accounts SET balance = balance + 1 WHERE id = 7`, want: "sum up to 10000001"},
		"money at the wrong place": {sabotage: `UPDATE accounts SET balance = balance + id - 7 WHERE id IN (6, 8)`, want: "2 balances do not agree"},
		"an account lost":          {sabotage: `DELETE FROM accounts WHERE id = 9999`, want: "9999 accounts"},
		"a transfer lost":          {sabotage: `DELETE FROM transfers WHERE number = 3`, want: "balances do not agree"},
		"an idle transfer lost":    {sabotage: `DELETE FROM transfers WHERE number = 2`, want: "there are 9 transfers, and the last one has number 10"},
		"another transfer than was acknowledged": {sabotage: `UPDATE transfers SET source = target, target = source WHERE number = 3;
			UPDATE accounts SET balance = balance + 6 * (id = 2) - 6 * (id = 4)`, until: noon.Add(time.Minute), want: "was acknowledged"},
		"an acknowledged transfer lost": {sabotage: `UPDATE accounts SET balance = balance + 10 * (id = 9) - 10 * (id = 81);
			DELETE FROM transfers WHERE number = 10`, until: noon.Add(time.Minute), want: "transfer 10, acknowledged at 2026-11-23 12:00:09"},
		"a promise of nothing": {until: noon, want: "nothing is proven"},
	} {
		t.Run(name, func(t *testing.T) {
			b, path, acks := newBank(t, 10)
			if _, err := b.db.Exec(c.sabotage); err != nil {
				t.Fatal(err)
			}
			var made *promise
			if !c.until.IsZero() {
				made = &promise{acks, c.until}
			}
			err := check(t.Context(), image(t, path), made, io.Discard)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("check: %v, want %q", err, c.want)
			}
		})
	}
}

func TestCheckFindsADamagedDatabase(t *testing.T) {
	b, path, _ := newBank(t, 1)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	clear(data[8*4096 : 9*4096]) // one page of many
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := check(t.Context(), path, nil, io.Discard); err == nil {
		t.Error("check finds nothing wrong")
	}
}

// canceller cancels once something is written.
type canceller struct{ cancel context.CancelFunc }

func (c canceller) Write(p []byte) (int, error) {
	c.cancel()
	return len(p), nil
}

func TestTheBankStopsWhenToldAndGoesOnLater(t *testing.T) {
	dir := t.TempDir()
	db, acks := filepath.Join(dir, "bank.db"), filepath.Join(dir, "acks")
	if err := create(t.Context(), db, 10); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		if err := run(ctx, []string{"run", db, acks}, canceller{cancel}); err != nil {
			t.Fatal(err)
		}
	}
	said, err := readAcks(acks)
	if err != nil || len(said) < 2 {
		t.Fatalf("%d acknowledgements and %v, want at least 2", len(said), err)
	}
	if err := run(t.Context(), []string{"check", db, acks, "2100-01-01T00:00:00Z"}, io.Discard); err != nil {
		t.Error(err)
	}
}

func TestWrongUseTouchesNothing(t *testing.T) {
	dir := t.TempDir()
	db := filepath.Join(dir, "bank.db")
	for _, args := range [][]string{
		{}, {"init"}, {"rob", db}, {"init", db, "more"}, {"run", db}, {"run", db, filepath.Join(dir, "acks")},
		{"check", db}, {"check", db, "acks"}, {"check", db, "acks", "noon"}, {"check", db, "acks", "2026-11-23T12:00:00Z"},
	} {
		if err := run(t.Context(), args, io.Discard); err == nil {
			t.Errorf("bank %s: no error", strings.Join(args, " "))
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
