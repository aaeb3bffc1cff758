// Package suspicion says whether the content of a volume can be what the volume should hold, going by what it held in earlier snapshots. It decides
// purely; what becomes of a snapshot that is suspect, and who is told, is left to others.
package suspicion

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/backupd/backupd/internal/recognise"
	"github.com/backupd/backupd/internal/snapshot"
)

// Length is how many good snapshots of a volume it is compared with, at most.
const Length = 8

// Verdict is what there is to say of a volume's content.
type Verdict struct {
	Suspect string // why it is not believed; "" when there is no reason
	Empty   bool   // that is because there is nothing in it
	Grown   string // that it is much more than it was, which is told and is no reason for suspicion; "" when it is not
}

// Judge compares what a volume holds with its history: its good snapshots, newest first. Without a history nothing is suspect. Suspect is
//
//   - a volume that is empty, and was not in the newest of these;
//   - one that has lost a kind of database: it was in each of the last three (or of what there are) and is no more. Which folder it is in
//     does not matter, so that an upgrade from 15/main to 16/main is none;
//   - one of which the bytes of files, or the number of entries, have shrunk: see usual.shrunk.
//
// One that has grown much is not suspect: nothing that was there need be lost, a volume that is filled does that, and a snapshot that counts
// for nothing would be the wrong answer to it.
func Judge(c snapshot.Contents, history []snapshot.Manifest) Verdict {
	history = since(history)
	if len(history) == 0 {
		return Verdict{}
	}
	if last := history[0]; c.Empty() {
		if last.Contents.Empty() {
			return Verdict{}
		}
		return Verdict{Empty: true, Suspect: fmt.Sprintf("it is empty, and held %d entries in snapshot %s (if that is meant, back it up with --allow-empty)",
			last.Contents.Entries, last.ID)}
	}
	bytes, entries := measures(history)
	var v Verdict
	reasons := lost(c, history)
	if bytes.shrunk(c.Bytes) {
		reasons = append(reasons, fmt.Sprintf("it has shrunk to %s from the usual %s", size(float64(c.Bytes)), size(bytes.median)))
	}
	if entries.shrunk(c.Entries) {
		reasons = append(reasons, fmt.Sprintf("it has shrunk to %d entries from the usual %.0f", c.Entries, entries.median))
	}
	if len(reasons) > 0 {
		v.Suspect = strings.Join(reasons, "; ") + " (if that is meant, back it up once with --accept)"
	}
	if bytes.grown(c.Bytes) || entries.grown(c.Entries) {
		v.Grown = fmt.Sprintf("it holds %s in %d entries, and usually %s in %.0f", size(float64(c.Bytes)), c.Entries, size(bytes.median), entries.median)
	}
	return v
}

// since gives the part of a history that counts. It begins anew with what somebody has accepted; and with a snapshot that is good and empty,
// since nothing was expected of the volume then.
func since(history []snapshot.Manifest) []snapshot.Manifest {
	if i := slices.IndexFunc(history, func(m snapshot.Manifest) bool { return m.Accepted != "" || m.Contents.Empty() }); i >= 0 {
		history = history[:i+1]
	}
	return history[:min(len(history), Length)]
}

// lost tells of the kinds of databases that should be there.
func lost(c snapshot.Contents, history []snapshot.Manifest) (reasons []string) {
	const sure = 3 // what comes and goes is not missed
	there := recognise.Kinds(c.Databases)
	for _, kind := range recognise.Kinds(history[0].Contents.Databases) {
		always := !slices.ContainsFunc(history[:min(len(history), sure)], func(m snapshot.Manifest) bool {
			return !slices.Contains(recognise.Kinds(m.Contents.Databases), kind)
		})
		if always && !slices.Contains(there, kind) {
			reasons = append(reasons, fmt.Sprintf("the %s database that it had in snapshot %s is no longer recognised in it", kind, history[0].ID))
		}
	}
	return reasons
}

func size(bytes float64) string { return humanize.IBytes(uint64(bytes)) }
