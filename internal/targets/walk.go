package targets

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strings"
)

// Folder gives what is in a folder, by its prefix, in any order: folders as keys with "/" after them.
type Folder func(ctx context.Context, prefix string) ([]Object, error)

// ListFolders is a Store's List for a place that has folders. Wrap says of an error what was attempted.
func ListFolders(ctx context.Context, prefix string, folder Folder, wrap func(error) error) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		if err := CheckPrefix(prefix); err != nil {
			yield(Object{}, fmt.Errorf("list: %w", err))
			return
		}
		err := folder.walk(ctx, prefix, func(o Object) bool { return yield(o, nil) })
		if err != nil && !errors.Is(err, errStop) {
			yield(Object{}, wrap(err))
		}
	}
}

// errStop says that the caller has seen enough.
var errStop = errors.New("stop")

// deepest is how many folders may be in each other: a server may make up more without an end.
const deepest = 64

// walk holds the objects of one folder in memory, and of those that lead to it. Folders sort as what is in them does ("a.b" before "a/b").
func (f Folder) walk(ctx context.Context, prefix string, yield func(Object) bool) error {
	if strings.Count(prefix, "/") > deepest {
		return fmt.Errorf("there are more than %d folders in each other", deepest)
	}
	objects, err := f(ctx, prefix)
	if err != nil {
		return err
	}
	slices.SortFunc(objects, func(a, b Object) int { return strings.Compare(a.Key, b.Key) })
	for _, o := range objects {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if strings.HasSuffix(o.Key, "/") {
			if err := f.walk(ctx, o.Key, yield); err != nil {
				return err
			}
		} else if !yield(o) {
			return errStop
		}
	}
	return nil
}

// CheckName is for what a server calls the name of a file, which must not lead out of its folder.
func CheckName(name string) error {
	if strings.Contains(name, "/") {
		return fmt.Errorf("%q as a name: %w", name, fs.ErrInvalid)
	}
	return CheckKey(name)
}
