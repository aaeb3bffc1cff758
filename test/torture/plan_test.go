package torture

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// kind is what is done to backupd, or to what it stands on, in the middle of a backup.
type kind string

const (
	killWorker kind = "SIGKILL of the worker"
	killGuard  kind = "SIGKILL of the guard"
	killBoth   kind = "SIGKILL of both"
	killEngine kind = "SIGKILL of the engine"
	killAll    kind = "SIGKILL of the engine and both"
	terminate  kind = "SIGTERM of the worker"
	freeze     kind = "SIGSTOP of the worker"
	overtime   kind = "SIGSTOP of the worker until the limit"

	// The worker and its guard are each in a container.
	killContainer  kind = "SIGKILL of the backupd container"
	killSibling    kind = "SIGKILL of the guard's container"
	killContainers kind = "SIGKILL of both containers"
)

// contained tells whether backupd runs in a container.
func (k kind) contained() bool { return k == killContainer || k == killSibling || k == killContainers }

// hits tells what dies.
func (k kind) hits() (worker, guard bool) {
	switch k {
	case killWorker, killContainer:
		return true, false
	case killGuard, killSibling:
		return false, true
	case killBoth, killAll, killContainers:
		return true, true
	}
	return false, false
}

// shares are how often each kind occurs in one deck. A SIGSTOP takes half a minute.
var shares = []struct {
	kind
	n int
}{{killWorker, 10}, {killGuard, 7}, {killBoth, 8}, {killEngine, 5}, {killAll, 4}, {terminate, 4}, {overtime, 2}, {freeze, 1},
	{killContainer, 5}, {killSibling, 4}, {killContainers, 5}}

// moment says when: once something was seen so many times, and then so much later.
type moment struct {
	seen  sight
	times int
	after time.Duration
}

// sight is what tells how far a backup has come.
type sight string

const (
	start sight = "start" // of the worker
	line  sight = "line"  // of a journal
	event sight = "event" // of the engine, about one of the containers
	child sight = "guard" // that runs
)

// What one backup comes to, more or less.
const (
	lasts     = 2 * time.Second
	allLines  = 14 // of its journals
	allEvents = 11 // pause, unpause, kill, die, stop and start
)

// round is one strike in the middle of one backup, and what comes after it.
type round struct {
	number   int
	kind     kind
	moment   moment
	daemon   bool // the worker is the daemon
	parallel int
	live     bool          // the engine's containers outlive it: from this round on, if the engine is started again in it
	first    bool          // of two that are killed: the guard
	down     time.Duration // that the engine is, if it is killed
	asked    bool          // the engine is asked to kill containers, and then does not start them again by itself
}

func (r round) String() string {
	worker := "backup"
	if r.daemon {
		worker = "daemon"
	}
	if r.kind.contained() && r.asked {
		worker += ", by the engine"
	}
	return fmt.Sprintf("%3d: %s (%s, parallel %d) at %s %d + %s", r.number, r.kind, worker, r.parallel, r.moment.seen, r.moment.times,
		r.moment.after)
}

// plan gives the rounds that a seed stands for. The first ones are the same however many there are.
func plan(seed uint64, n int) []round {
	dice := rand.New(rand.NewPCG(seed, 0))
	var kinds []kind
	moments := make(map[kind][]moment)
	rounds := make([]round, n)
	for i := range rounds {
		r := round{number: i + 1, parallel: 1 + dice.IntN(2), daemon: dice.IntN(3) == 0, live: dice.IntN(2) == 0,
			first: dice.IntN(2) == 0, down: upTo(dice, lasts/2), asked: dice.IntN(2) == 0}
		r.kind = draw(dice, &kinds, kindsOfADeck)
		of := moments[r.kind]
		r.moment = draw(dice, &of, func() []moment { return momentsOfADeck(dice, r.kind) })
		moments[r.kind] = of
		rounds[i] = r
	}
	return rounds
}

// draw takes the next card of a deck that is made and shuffled anew when it is used up.
func draw[T any](dice *rand.Rand, deck *[]T, fresh func() []T) T {
	if len(*deck) == 0 {
		*deck = fresh()
		dice.Shuffle(len(*deck), func(i, j int) { (*deck)[i], (*deck)[j] = (*deck)[j], (*deck)[i] })
	}
	card := (*deck)[0]
	*deck = (*deck)[1:]
	return card
}

func kindsOfADeck() (deck []kind) {
	for _, share := range shares {
		for range share.n {
			deck = append(deck, share.kind)
		}
	}
	return deck
}

// momentsOfADeck are every numbered step, and some moments at random.
func momentsOfADeck(dice *rand.Rand, k kind) (deck []moment) {
	const random = 8
	switch k {
	case freeze, overtime: // once a container is held for sure: a worker that wakes up before may go on
		const settled, reading = 3, 7
		return []moment{{line, settled + dice.IntN(reading-settled), 0}, {line, reading, upTo(dice, lasts/4)}}
	case killGuard, killSibling:
		for range random {
			deck = append(deck, moment{child, 1, upTo(dice, lasts/2)})
		}
	default:
		for range random {
			deck = append(deck, moment{start, 1, upTo(dice, lasts)})
		}
	}
	for n := range allLines {
		deck = append(deck, moment{line, n + 1, upTo(dice, 3*time.Millisecond)})
	}
	for n := range allEvents {
		deck = append(deck, moment{event, n + 1, upTo(dice, 3*time.Millisecond)})
	}
	return deck
}

func upTo(dice *rand.Rand, d time.Duration) time.Duration {
	return time.Duration(dice.Int64N(int64(d))).Round(time.Microsecond)
}
