// Command bench times backups and restores of whole programs, in turn and in one run, so that their ratios hold on a noisy machine.
//
//	test/means.sh run -- go run ./test/bench [-n RUNS] [-data FOLDER] [SET...]
//
// A set is a folder below FOLDER; "pg" is made when it is not there. Peers that are not installed are left out, with a word.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"text/tabwriter"
	"time"
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
	flag.Parse()
	sets := flag.Args()
	if len(sets) == 0 {
		sets = []string{"pg"}
	}
	work, err := os.MkdirTemp(filepath.Dir(*data), "work-")
	if err != nil {
		if work, err = os.MkdirTemp("", "backupd-bench-"); err != nil {
			return err
		}
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	b := &runner{ctx: ctx, runs: *runs, data: *data, work: work}
	s3, stop, err := b.startS3()
	defer func() { err = errors.Join(err, stop()) }()
	if err != nil {
		return err
	}
	for _, set := range sets {
		if err := b.prepare(set); err != nil {
			return err
		}
		if err := b.compare(set, append(peers(), s3)); err != nil {
			return err
		}
	}
	return nil
}

// runner runs commands and counts what they cost.
type runner struct {
	ctx        context.Context
	runs       int
	data, work string
}

// cost is what one run of a command took.
type cost struct {
	wall, cpu time.Duration
	rss       int64 // KiB, the largest of one process
	stored    int64 // bytes
}

// run runs a shell's command once, in an environment that tells it where things are.
func (b *runner) run(set, command string) (cost, error) {
	out := filepath.Join(b.work, "out")
	if err := os.RemoveAll(out); err != nil {
		return cost{}, err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return cost{}, err
	}
	syscall.Sync()
	cmd := exec.CommandContext(b.ctx, "sh", "-c", command)
	cmd.Env = append(os.Environ(), "SET="+set, "DATA="+b.data, "SRC="+filepath.Join(b.data, set), "OUT="+out, "WORK="+b.work)
	began := time.Now()
	said, err := cmd.CombinedOutput()
	took := time.Since(began)
	if err != nil {
		return cost{}, fmt.Errorf("%s: %w\n%s", command, err, said)
	}
	usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	stored, err := bytesIn(out)
	return cost{wall: took, cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), rss: usage.Maxrss, stored: stored}, err
}

func bytesIn(dir string) (sum int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			sum += info.Size()
		}
		return err
	})
	return sum, err
}

// compare runs every peer in turn, over and over, and prints the medians.
func (b *runner) compare(set string, all []peer) error {
	var there []peer
	for _, p := range all {
		if missing := p.missing(); missing != "" {
			fmt.Fprintf(os.Stderr, "bench: left out: %s (%s)\n", p.name, missing)
			continue
		}
		there = append(there, p)
	}
	costs := map[string][]cost{}
	for i := range b.runs + 1 {
		for _, p := range there {
			c, err := b.run(set, p.command)
			if err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			if i > 0 {
				costs[p.name] = append(costs[p.name], c)
			}
			fmt.Fprintf(os.Stderr, "bench: %s: %s: %.2f s\n", set, p.name, c.wall.Seconds())
		}
	}
	first := median(costs[there[0].name])
	fmt.Printf("\n%s: medians of %d runs, taken in turn\n\n", set, b.runs)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\twall s\tof backupd's\tCPU s\tpeak RSS MiB\tstored MB\t")
	for _, p := range there {
		m := median(costs[p.name])
		cpu, rss := fmt.Sprintf("%.2f", m.cpu.Seconds()), fmt.Sprintf("%d", m.rss>>10)
		if p.elsewhere {
			cpu, rss = "-", "-"
		}
		fmt.Fprintf(w, "%s\t%.2f\t%.2f\t%s\t%s\t%.1f\t\n", p.name, m.wall.Seconds(), m.wall.Seconds()/first.wall.Seconds(), cpu, rss, float64(m.stored)/1e6)
	}
	return w.Flush()
}

// median takes each figure for itself.
func median(costs []cost) cost {
	return cost{
		wall:   middle(costs, func(c cost) time.Duration { return c.wall }),
		cpu:    middle(costs, func(c cost) time.Duration { return c.cpu }),
		rss:    middle(costs, func(c cost) int64 { return c.rss }),
		stored: middle(costs, func(c cost) int64 { return c.stored }),
	}
}

func middle[T int64 | time.Duration](costs []cost, of func(cost) T) T {
	values := make([]T, len(costs))
	for i, c := range costs {
		values[i] = of(c)
	}
	slices.Sort(values)
	return values[len(values)/2]
}
