// Package faults_test makes whole backups while what they go to fails, by plans that seeds give: make faults.
package faults_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/backupd/backupd/internal/targets/s3/s3test"
	"github.com/backupd/backupd/internal/targets/sftp/sftptest"
	"github.com/backupd/backupd/internal/testenv"
)

var (
	plans = flag.Int("plans", 12, "how many plans of faults are carried out")
	first = flag.Uint64("seed", 1, "seed of the first one")
)

// days is how many backups a plan makes.
const days = 5

// TestNoPlanOfFaultsLosesOrFakesASnapshot backs up for some days, with retention, to targets whose servers and wires fail. Then all is
// well again, and everything is looked at.
func TestNoPlanOfFaultsLosesOrFakesASnapshot(t *testing.T) {
	s := scene{s3: s3test.Start(t), sftp: sftptest.Start(t)}
	good, runs, removed := 0, 0, 0
	for seed := *first; seed < *first+uint64(*plans); seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			p := plan{rand.New(rand.NewPCG(seed, 1)), s.world(t, kinds[seed%uint64(len(kinds))])}
			p.carryOut(t)
			good, runs, removed = good+p.world.good, runs+days, removed+p.world.removed
			p.world.wantAllWell(t)
			if t.Failed() {
				t.Logf("the plan: %v", p.world.told)
			}
		})
	}
	t.Attr("plans", fmt.Sprint(*plans))
	t.Attr("runs", fmt.Sprint(runs))
	t.Attr("good", fmt.Sprint(good))
	t.Attr("removed", fmt.Sprint(removed))
	if *plans >= 12 && (good < runs/4 || good == runs || removed == 0) {
		t.Errorf("of %d runs %d were good, and retention removed %d: the plans are too hard, or too easy", runs, good, removed)
	}
}

// plan is made of random faults.
type plan struct {
	*rand.Rand
	world *world
}

func (p plan) carryOut(t *testing.T) {
	for day := range days {
		p.content(t)
		if day > 0 { // so that there is something to lose
			p.fail()
		}
		p.world.backup(t, p.world.wild)
	}
	p.world.calm()
	p.content(t)
}

// content gives the volume another one.
func (p plan) content(t *testing.T) {
	data := make([]byte, []int{3000, 100_000, 100_000, 9 << 20}[p.IntN(4)])
	for i := range data {
		data[i] = byte(p.Uint32())
	}
	p.world.write(t, data)
}

// fail makes the next run's faults.
func (p plan) fail() {
	p.world.calm()
	if p.world.front != nil && p.IntN(4) > 0 {
		rules, told := p.world.server.Faults(p.Rand, 2+p.IntN(4))
		p.world.front.Becomes(rules...)
		p.world.tell("server", told)
	}
	if p.IntN(3) > 0 {
		var breaks []testenv.Break
		for range 1 + p.IntN(8) {
			breaks = append(breaks, p.breakage())
		}
		speed := []testenv.Speed{{}, {}, {Latency: 3 * time.Millisecond}, {Rate: 1 << 20}}[p.IntN(4)]
		p.world.wire.Becomes(speed, breaks...)
		p.world.tell("wire", speed, breaks)
	}
}

func (p plan) breakage() testenv.Break {
	hows := []testenv.How{testenv.Never, testenv.Closed, testenv.Reset, testenv.Reset, testenv.Silent}
	if p.world.front == nil {
		hows = hows[:4] // an SSH server that says nothing is waited for longer than a test may take
	}
	b := testenv.Break{How: hows[p.IntN(len(hows))], Up: p.IntN(2) == 0, After: int64(p.IntN(4000))}
	if p.IntN(3) == 0 {
		b.After = int64(p.IntN(10 << 20))
	}
	return b
}
