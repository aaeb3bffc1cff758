package plan

import (
	"cmp"
	"slices"

	"github.com/backupd/backupd/internal/quiesce"
)

// Job is volumes that are backed up together, with one hold.
type Job struct {
	Volumes []Volume // by name
}

// Jobs makes jobs of the volumes that are due: those of one group, and those that a container could write to which would be held,
// are one job, since holding it once is better than twice. Each volume is in exactly one job; jobs are in the order of their names.
func Jobs(due []Volume) []Job {
	due = slices.Clone(due)
	slices.SortStableFunc(due, func(a, b Volume) int { return cmp.Compare(a.Name, b.Name) })

	joined := newForest(len(due))
	groups, held := make(map[string]int), make(map[string]int)
	join := func(seen map[string]int, key string, i int) {
		if first, ok := seen[key]; ok {
			joined.join(first, i)
		} else {
			seen[key] = i
		}
	}
	for i, v := range due {
		if v.Group.Value != "" {
			join(groups, v.Group.Value, i)
		}
		for _, id := range v.held() {
			join(held, id, i)
		}
	}

	var jobs []Job
	place := make(map[int]int) // of a root's job
	for i, v := range due {
		root := joined.root(i)
		at, ok := place[root]
		if !ok {
			at = len(jobs)
			place[root] = at
			jobs = append(jobs, Job{})
		}
		jobs[at].Volumes = append(jobs[at].Volumes, v)
	}
	return jobs
}

// Request is how the containers of the job are to be held: in the strictest way, and for the shortest time, that any of its volumes
// asks for.
func (j Job) Request() quiesce.Request {
	req := quiesce.Request{Mode: quiesce.None, Hooks: true}
	for _, v := range j.Volumes {
		req.Volumes = append(req.Volumes, v.Volume)
		if mode := v.Quiesce.Value; mode == quiesce.Stop || req.Mode == quiesce.None {
			req.Mode = mode
		}
		if limit := v.Limit.Value; limit > 0 && (req.Limit == 0 || limit < req.Limit) {
			req.Limit = limit
		}
	}
	return req
}

// held gives the ids of the containers, and swarm services, that a backup of the volume holds.
func (v Volume) held() []string {
	if v.Quiesce.Value == quiesce.None {
		return v.hooked()
	}
	var ids []string
	for _, c := range v.Containers {
		if _, writes := c.Mounting(v.Volume); !writes || !c.Active() {
			continue
		}
		ids = append(ids, c.ID)
		if v.Quiesce.Value == quiesce.Stop && c.Task() { // then all tasks of the service are
			ids = append(ids, c.SwarmService())
		}
	}
	return ids
}

// hooked marks the containers whose hooks a backup of a volume runs that holds nothing. They are better run once for several such volumes,
// but never a reason to hold a container that is not to be held.
func (v Volume) hooked() []string {
	var marks []string
	for _, c := range v.Containers {
		if hooks, err := quiesce.ParseHooks(c.Labels); c.Active() && err == nil && !hooks.None() {
			marks = append(marks, "hooks of "+c.ID)
		}
	}
	return marks
}

// forest tells which things belong together: each knows one that it belongs to, and a root itself.
type forest []int

func newForest(n int) forest {
	f := make(forest, n)
	for i := range f {
		f[i] = i
	}
	return f
}

func (f forest) root(i int) int {
	for f[i] != i {
		f[i] = f[f[i]]
		i = f[i]
	}
	return i
}

func (f forest) join(i, j int) { f[f.root(j)] = f.root(i) }
