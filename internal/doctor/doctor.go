// Package doctor looks at what backups depend on, before the night's run does, and says of each thing that it finds how to mend it.
//
// It changes nothing, but for a small object that it puts on each target and takes away again. What it looks at it is given; what comes of it
// is for its callers to print.
package doctor

import (
	"context"
	"fmt"
	"time"
)

// Level is how bad a finding is.
type Level string

// From the best to the worst.
const (
	OK   Level = "ok"
	Note Level = "note" // to know, and nothing to mend
	Warn Level = "warn" // backups are made, and something is not as it should be
	Fail Level = "fail" // backups are not made, or do not open
)

// Finding is what was found of one thing.
type Finding struct {
	Check string `json:"check"` // what was looked at, such as "target nas"
	Level Level  `json:"level"`
	Text  string `json:"text"`
	Mend  string `json:"mend,omitempty"` // what to do; "" where there is nothing to do, or the text says it
}

// Check looks at one thing.
type Check struct {
	Name string
	Look func(ctx context.Context, r *Report)
}

// patience is how long one check may take. Targets have time-outs of their own, which give better reasons.
const patience = 5 * time.Minute

// Examine makes one check after the other, and tells each finding as it comes.
func Examine(ctx context.Context, checks []Check, tell func(Finding)) {
	for _, c := range checks {
		if ctx.Err() != nil {
			return
		}
		look(ctx, c, tell)
	}
}

func look(ctx context.Context, c Check, tell func(Finding)) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("there was no answer for %v", patience))
	defer cancel()
	r := &Report{check: c.Name, tell: tell}
	c.Look(ctx, r)
}

// Report takes what a check finds.
type Report struct {
	check string
	tell  func(Finding)
}

// OK says what is well.
func (r *Report) OK(format string, args ...any) { r.add(OK, "", format, args...) }

// Note says what is good to know.
func (r *Report) Note(format string, args ...any) { r.add(Note, "", format, args...) }

// Warn says what is not as it should be, and how to mend it.
func (r *Report) Warn(mend, format string, args ...any) { r.add(Warn, mend, format, args...) }

// Fail says what keeps backups from being made or opened, and how to mend it.
func (r *Report) Fail(mend, format string, args ...any) { r.add(Fail, mend, format, args...) }

func (r *Report) add(l Level, mend, format string, args ...any) {
	r.tell(Finding{Check: r.check, Level: l, Text: fmt.Sprintf(format, args...), Mend: mend})
}
