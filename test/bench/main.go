// Command bench times backups and restores of whole programs, in turn and in one run, so that their ratios hold on a noisy machine.
//
//	test/means.sh run -- go run ./test/bench [-n RUNS] [-data FOLDER] [-task backup,cold,restore,one] [SET...]
//	test/means.sh run -- go run ./test/bench -growth 10000,100000,1000000
//
// A set is a folder below FOLDER; "pg" and "small" are made when they are not there. Peers that are not installed are left out, with a
// word. All reads come from the page cache, but for the task cold, which is a backup of a set that is on disk alone. With -growth it is only backupd, on that many small files, and a plot where gnuplot is installed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := bench(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func bench(ctx context.Context) (err error) {
	runs := flag.Int("n", 3, "counted runs of each command, after one that is not counted")
	data := flag.String("data", filepath.Join(os.TempDir(), "backupd-bench", "data"), "folder of the sets")
	tasks := flag.String("task", "backup,cold,restore,one", "what to time")
	growth := flag.String("growth", "", "numbers of files")
	flag.Parse()
	if err := os.MkdirAll(*data, 0o755); err != nil {
		return err
	}
	work, err := os.MkdirTemp(filepath.Dir(*data), "work-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	b := &runner{ctx: ctx, runs: *runs, data: *data, work: work}
	if *growth != "" {
		return b.grow(*growth)
	}
	s3, stop, err := b.startS3()
	defer func() { err = errors.Join(err, stop()) }()
	if err != nil {
		return err
	}
	sets := flag.Args()
	if len(sets) == 0 {
		sets = []string{"pg", "small"}
	}
	there := installed(append(peers(), s3))
	for _, set := range sets {
		if err := b.prepare(set); err != nil {
			return err
		}
		for task := range strings.SplitSeq(*tasks, ",") {
			if err := b.compare(task, set, there); err != nil {
				return err
			}
		}
	}
	return nil
}
