package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// ack is what a customer was told: this transfer is done.
type ack struct {
	Transfer
	At time.Time `json:"at"` // after the database had confirmed it
}

// ackLog is a file of acknowledgements, one JSON object per line, each durable before the next transfer begins.
type ackLog struct{ f *os.File }

func openAcks(path string) (*ackLog, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open acknowledgements: %w", err)
	}
	return &ackLog{f}, nil
}

func (l *ackLog) write(a ack) error {
	line, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("acknowledge transfer %d: %w", a.Number, err)
	}
	if _, err := l.f.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("acknowledge transfer %d: %w", a.Number, err)
	}
	if err := l.f.Sync(); err != nil {
		return fmt.Errorf("acknowledge transfer %d: %w", a.Number, err)
	}
	return nil
}

// Close closes the file.
func (l *ackLog) Close() error { return l.f.Close() }

// readAcks reads all acknowledgements. A last line without an end is one that the bank was killed at: nobody was told.
// It insists that numbers and times only grow: were the clock set back, "until" would mean nothing.
func readAcks(path string) (acks []ack, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read acknowledgements: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for r := bufio.NewReader(f); ; {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return acks, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read acknowledgements: %w", err)
		}
		var a ack
		if err := json.Unmarshal(line, &a); err != nil {
			return nil, fmt.Errorf("read acknowledgement %d in %s: %w", len(acks)+1, path, err)
		}
		if last := len(acks) - 1; last >= 0 && (a.Number <= acks[last].Number || a.At.Before(acks[last].At)) {
			return nil, fmt.Errorf("%s: transfer %d of %v comes after %d of %v: has the clock been set?",
				path, a.Number, a.At, acks[last].Number, acks[last].At)
		}
		acks = append(acks, a)
	}
}

// longestPause is the longest time between two acknowledgements: how long a customer waited at worst.
func longestPause(acks []ack) time.Duration {
	var longest time.Duration
	for i := 1; i < len(acks); i++ {
		longest = max(longest, acks[i].At.Sub(acks[i-1].At))
	}
	return longest
}
