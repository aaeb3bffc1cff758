package archive

import (
	"fmt"
	"io"
	"os"
)

// shelfSize is how many bytes stay in memory before they go to a scratch file.
const shelfSize = 2 << 20

// shelf keeps bytes in the order in which they come, on disk when they become many.
type shelf struct {
	dir  string
	mem  []byte
	file *os.File // nil until it is needed
	size int64    // bytes in the file
}

func (s *shelf) put(p []byte) error {
	s.mem = append(s.mem, p...)
	if len(s.mem) < shelfSize {
		return nil
	}
	if s.file == nil {
		f, err := ScratchFile(s.dir)
		if err != nil {
			return err
		}
		s.file = f
	}
	if _, err := s.file.Write(s.mem); err != nil {
		return fmt.Errorf("write scratch file: %w", err)
	}
	s.size += int64(len(s.mem))
	s.mem = s.mem[:0]
	return nil
}

// all gives everything that was put.
func (s *shelf) all(to func(p []byte) error) error {
	if s.file != nil {
		from := io.NewSectionReader(s.file, 0, s.size)
		piece := make([]byte, 256<<10)
		for left := s.size; left > 0; {
			n := min(left, int64(len(piece)))
			if _, err := io.ReadFull(from, piece[:n]); err != nil {
				return fmt.Errorf("read scratch file: %w", unexpected(err))
			}
			if err := to(piece[:n]); err != nil {
				return err
			}
			left -= n
		}
	}
	return to(s.mem)
}

// close lets the file go, of which nothing is wanted any more.
func (s *shelf) close() {
	if s.file != nil {
		_ = s.file.Close()
	}
}
