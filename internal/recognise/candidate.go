package recognise

import (
	"slices"
	"strings"
)

// candidate is a folder with marks, while the walk is in it.
type candidate struct {
	folder  string
	seen    uint64 // bits of marks
	version string
}

// candidate gives the one of a folder. Of too many, a new one is not kept.
func (o *Observer) candidate(folder string) *candidate {
	for _, c := range o.open {
		if c.folder == folder {
			return c
		}
	}
	c := &candidate{folder: strings.Clone(folder)}
	if len(o.open) < deepest {
		o.open = append(o.open, c)
	}
	return c
}

// leave judges the folders that a path is not in: the walk does not come back to them.
func (o *Observer) leave(path string) {
	o.open = slices.DeleteFunc(o.open, func(c *candidate) bool {
		gone := !c.has(path)
		if gone {
			o.judge(c)
		}
		return gone
	})
}

// has tells whether a path is the candidate's folder, or below it.
func (c *candidate) has(path string) bool {
	if path == "" {
		return false
	}
	below, ok := strings.CutPrefix(path, c.folder)
	return c.folder == "." || ok && (below == "" || below[0] == '/')
}

// judge notes what the marks of a folder come to.
func (o *Observer) judge(c *candidate) {
	for _, r := range recipes {
		if c.seen&r.need == r.need && c.seen&r.but == 0 {
			o.found(Find{Kind: r.kind, Folder: c.folder, Version: c.version})
		}
	}
}
