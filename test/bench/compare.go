package main

import (
	"fmt"
	"os"
	"path/filepath"
	"text/tabwriter"
)

// compare does a task with every peer in turn, over and over, and prints the medians.
func (b *runner) compare(task, set string, all []peer) error {
	costs := map[string][]cost{}
	for i := range b.runs + 1 {
		for _, p := range all {
			if p.command(task) == "" {
				continue
			}
			c, err := b.once(task, set, p)
			if err != nil {
				return err
			}
			if i > 0 {
				costs[p.name] = append(costs[p.name], c)
			}
			fmt.Fprintf(os.Stderr, "bench: %s of %s: %s: %.3f s\n", task, set, p.name, c.wall.Seconds())
		}
	}
	if err := b.print(task, set, all, costs); err != nil {
		return err
	}
	return b.empty()
}

// once does a task with one peer.
func (b *runner) once(task, set string, p peer) (cost, error) {
	if err := b.fresh(b.destination()); err != nil {
		return cost{}, err
	}
	state := cached
	if task == "cold" {
		state = uncached
	}
	made := filepath.Join(b.repo(p), ".of-"+set)
	backs := p.command(task) == p.backup
	if _, err := os.Stat(made); backs || err != nil {
		if err := b.fresh(b.repo(p)); err != nil {
			return cost{}, err
		}
		c, err := b.run(set, p, p.backup, state)
		if err != nil {
			return cost{}, err
		}
		if err := os.WriteFile(made, nil, 0o600); err != nil || backs {
			return c, err
		}
	}
	return b.run(set, p, p.command(task), cached)
}

func (b *runner) print(task, set string, all []peer, costs map[string][]cost) error {
	fmt.Printf("\n%s of %s: medians of %d runs, taken in turn\n\n", task, set, b.runs)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\twall s\tof backupd's\tCPU s\tpeak RSS MiB\tstored MB\t")
	first := median(costs[all[0].name]).wall.Seconds()
	for _, p := range all {
		if costs[p.name] == nil {
			continue
		}
		m := median(costs[p.name])
		cpu, rss := fmt.Sprintf("%.2f", m.cpu.Seconds()), fmt.Sprintf("%d", m.rss>>10)
		if p.elsewhere {
			cpu, rss = "-", "-"
		}
		stored, err := bytesIn(b.repo(p))
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s\t%.3f\t%.2f\t%s\t%s\t%.1f\t\n", p.name, m.wall.Seconds(), m.wall.Seconds()/first, cpu, rss, float64(stored)/1e6)
	}
	return w.Flush()
}
