package archive

import (
	"context"
	"fmt"
	"io"
)

// List reads a stream to its end, as Extract does, and writes nothing: it calls each with every entry that one of the patterns covers (all, when there are none), in the archive's order. It reads to
// the end, so no error means that the archive is whole, and the one with this digest of its directory unless that is zero; an error of
// each ends it.
//
// A Read of r in progress is waited for, also when ctx ends.
func List(ctx context.Context, r io.Reader, directory [32]byte, paths []string, each func(Entry) error) error {
	chosen, err := parseGlobs(paths)
	if err != nil {
		return fmt.Errorf("list: %w", err)
	}
	return unpack(ctx, r, proof{directory: directory}, func(ctx context.Context, t *tarReader) error {
		return members(ctx, t, func(m *member) error {
			if !chosen.cover(m.Path) {
				return nil
			}
			return each(m.Entry)
		})
	})
}
