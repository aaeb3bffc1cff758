package folder

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// plan is what an exchange goes by, whoever brings it to its end. It is written whole before anything is moved: a file of JSON lines, first
// this one, then the entries, and a last line that counts them.
type plan struct {
	Format string `json:"format"`
	Part   bool   `json:"part,omitempty"` // what is in the stage goes among what is there, and only takes the place of files that it has, too
	Then   kind   `json:"then"`           // what the stage holds once all is exchanged
	Else   kind   `json:"else"`           // and when nothing is

	// Of the volume's folder and the stage's, before; of a part they are of no interest.
	Here  *attributes `json:"here,omitempty"`
	There *attributes `json:"there,omitempty"`
}

// entry is a file or folder that is to be exchanged as a whole.
type entry struct {
	Path  []byte `json:"path"` // below the volume's folder, and below the stage's
	Here  ident  `json:"here,omitzero"`
	There ident  `json:"there,omitzero"`
}

// ident is which file a name in the volume, or in the stage, is of; zero is none. On one file system the number tells, after another boot
// too. What is of another one (a subvolume) has numbers of its own.
type ident struct {
	Number uint64 `json:"n"`
	Other  bool   `json:"other,omitempty"`
}

const (
	planFormat = "backupd exchange 1"
	maxLine    = 1 << 20 // bytes: room for a folder's extended attributes, and for any path
)

// planEnd is the last line.
type planEnd struct {
	Entries *int64 `json:"entries"`
}

// writePlan writes a plan, for good. The entries may come from the plan that it takes the place of.
func (s *Stage) writePlan(p plan, entries iter.Seq2[entry, error]) (err error) {
	path := filepath.Join(s.dir, planName+".new")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("write the plan of an exchange: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	p.Format = planFormat
	buffered := bufio.NewWriter(f)
	to := json.NewEncoder(buffered)
	err = to.Encode(p)
	count := int64(0)
	if entries != nil && err == nil {
		for e, failed := range entries {
			if err = failed; err == nil {
				err = to.Encode(e)
			}
			if err != nil {
				return fmt.Errorf("write the plan of an exchange: %w", err)
			}
			count++
		}
	}
	err = errors.Join(err, to.Encode(planEnd{&count}), buffered.Flush())
	if err == nil && !s.hasty {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(path, filepath.Join(s.dir, planName))
	}
	if err != nil {
		return fmt.Errorf("write the plan of an exchange: %w", err)
	}
	return s.sync(s.dir)
}

// readPlan reads what a plan begins with, and gives its entries. Nothing in it is believed that no exchange can have written.
func readPlan(dir string) (p plan, entries iter.Seq2[entry, error], err error) {
	f, err := openPlan(dir)
	if err != nil {
		return plan{}, nil, fmt.Errorf("read the plan of an exchange: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	lines := scan(f)
	if !lines.Scan() {
		return plan{}, nil, fmt.Errorf("read the plan of an exchange in %s: %w", dir, short(lines.Err()))
	}
	if err := json.Unmarshal(lines.Bytes(), &p); err != nil {
		return plan{}, nil, fmt.Errorf("read the plan of an exchange in %s: %w", dir, err)
	}
	if err := p.check(); err != nil {
		return plan{}, nil, fmt.Errorf("read the plan of an exchange in %s: %w", dir, err)
	}
	return p, p.entries(dir), nil
}

func openPlan(dir string) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, planName), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
}

func scan(f *os.File) *bufio.Scanner {
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, maxLine)
	return lines
}

func short(err error) error {
	if err == nil {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (p plan) check() error {
	switch {
	case p.Format != planFormat:
		return fmt.Errorf("its format is %q, not %q", p.Format, planFormat)
	case p.Then != replaced && p.Then != undone, p.Else != arriving && p.Else != replaced && p.Else != undone:
		return fmt.Errorf("it is to become %q, or else %q", p.Then, p.Else)
	}
	return nil
}

// entries opens the plan anew, so that it can be gone through more than once and while another one is written.
func (p plan) entries(dir string) iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
		f, err := openPlan(dir)
		if err != nil {
			yield(entry{}, err)
			return
		}
		defer f.Close()
		lines := scan(f)
		lines.Scan() // the first has been read
		count := int64(0)
		for ; lines.Scan(); count++ {
			e, last, err := p.parse(lines.Bytes(), count)
			if last && err == nil {
				return
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
		yield(entry{}, fmt.Errorf("the plan of an exchange breaks off after %d entries: %w", count, short(lines.Err())))
	}
}

// parse reads a line that is not the first one, of so many before it.
func (p plan) parse(line []byte, before int64) (e entry, last bool, err error) {
	var end planEnd
	if err := errors.Join(json.Unmarshal(line, &e), json.Unmarshal(line, &end)); err != nil {
		return entry{}, false, fmt.Errorf("entry %d of the plan of an exchange: %w", before+1, err)
	}
	if end.Entries != nil {
		if *end.Entries != before {
			err = fmt.Errorf("the plan of an exchange has %d entries, and should have %d", before, *end.Entries)
		}
		return entry{}, true, err
	}
	return e, false, p.checkPath(string(e.Path))
}

// checkPath refuses what would lead out of the folders, or into the stage.
func (p plan) checkPath(path string) error {
	first, _, deep := strings.Cut(path, "/")
	if !filepath.IsLocal(path) || filepath.Clean(path) != path || path == "." || deep && !p.Part || kindOf(first) != "" || strings.ContainsRune(path, 0) {
		return fmt.Errorf("the plan of an exchange has an entry %q, which none can have", path)
	}
	return nil
}
