package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// grow backs up and restores ever more files of a hundred bytes, and prints what that costs for each number.
func (b *runner) grow(numbers string) error {
	p := backupd("backupd, local disk", "local=file://$REPO")
	figures := "files\tbackup s\tbackup MiB\trestore s\trestore MiB\n"
	fmt.Print(figures)
	made := 0
	for text := range strings.SplitSeq(numbers, ",") {
		n, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("-growth: %w", err)
		}
		if err := b.moreFiles(made, n); err != nil {
			return err
		}
		made = n
		backup, err := b.once("backup", "growth", p)
		if err != nil {
			return err
		}
		restore, err := b.once("restore", "growth", p)
		if err != nil {
			return err
		}
		row := fmt.Sprintf("%d\t%.2f\t%d\t%.2f\t%d\n", n, backup.wall.Seconds(), backup.rss>>10, restore.wall.Seconds(), restore.rss>>10)
		fmt.Print(row)
		figures += row
	}
	return errors.Join(plot(figures), os.RemoveAll(filepath.Join(b.data, "growth")))
}

// moreFiles makes the files from one number to another, a thousand in a folder.
func (b *runner) moreFiles(from, to int) error {
	content := []byte(strings.Repeat("0123456789", 10))
	for n := from; n < to; n++ {
		name := filepath.Join(b.data, "growth", strconv.Itoa(n/1000), strconv.Itoa(n))
		if n == from || n%1000 == 0 {
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				return err
			}
		}
		if err := os.WriteFile(name, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// plot draws time and memory over the number of files, where gnuplot is installed.
func plot(figures string) error {
	program, err := exec.LookPath("gnuplot")
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: no plot: gnuplot is not installed")
		return nil
	}
	const picture = "bench-growth.png"
	data, err := os.CreateTemp("", "growth-*.tsv")
	if err != nil {
		return err
	}
	defer os.Remove(data.Name())
	if _, err := data.WriteString(figures); err != nil {
		return errors.Join(err, data.Close())
	}
	if err := data.Close(); err != nil {
		return err
	}
	cmd := exec.Command(program, "-")
	cmd.Stdin = strings.NewReader(fmt.Sprintf(`set terminal pngcairo size 900,500
		set output %q
		set datafile separator "\t"
		set key autotitle columnhead top left
		set xlabel "files"
		set ylabel "seconds"
		set y2label "peak RSS, MiB"
		set y2tics
		set y2range [0:160]
		set grid
		plot %[2]q using 1:2 with linespoints, %[2]q using 1:4 with linespoints, \
			%[2]q using 1:3 axes x1y2 with linespoints, %[2]q using 1:5 axes x1y2 with linespoints
		`, picture, data.Name()))
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("plot: %w\n%s", err, said)
	}
	fmt.Fprintln(os.Stderr, "bench: drawn to", picture)
	return nil
}
