package recognise

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// Tree gives what is recognised in a tree of files, of which only few are opened and no symlink is followed. Give it the FS of an os.Root where
// somebody may change names meanwhile.
func Tree(ctx context.Context, tree fs.FS) ([]Find, error) {
	o := New()
	err := fs.WalkDir(tree, ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		return o.look(tree, path, d)
	})
	if err != nil {
		return nil, fmt.Errorf("look for databases: %w", err)
	}
	return o.Finds(), nil
}

// look looks at an entry of a tree.
func (o *Observer) look(tree fs.FS, path string, d fs.DirEntry) error {
	if d.IsDir() {
		o.See(path, true, 0)
		return nil
	}
	if !d.Type().IsRegular() {
		return nil
	}
	info, err := d.Info()
	if err != nil {
		return err
	}
	if !o.See(path, false, info.Size()) {
		return nil
	}
	head, err := readHead(tree, path)
	if err == nil {
		o.Head(path, head)
	}
	return err
}

func readHead(tree fs.FS, path string) ([]byte, error) {
	f, err := tree.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() // it was only read from
	head := make([]byte, HeadSize)
	n, err := io.ReadFull(f, head)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return head[:n], err
}
