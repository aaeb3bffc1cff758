package folder

import (
	"errors"
	"io"
	"iter"
	"os"
	"path"
)

// all gives all that is in either folder, each entry once.
func (x *exchange) all() iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
		for name, err := range names(x.volume, ".") {
			if e, err := x.look(name, err); !yield(e, err) || err != nil {
				return
			}
		}
		for name, err := range names(x.there.root, ".") {
			e, err := x.look(name, err)
			if err == nil && e.Here != (ident{}) {
				continue
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// merged gives the files of the stage, and those of its folders that the volume has none of.
func (x *exchange) merged() iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) { x.merge(".", yield) }
}

func (x *exchange) merge(dir string, yield func(entry, error) bool) bool {
	for name, err := range names(x.there.root, dir) {
		p := path.Join(dir, name)
		e, err := x.look(p, err)
		goOn := false
		if err == nil && x.bothFolders(p) {
			goOn = x.merge(p, yield)
		} else {
			goOn = yield(e, err) && err == nil
		}
		if !goOn {
			return false
		}
	}
	return true
}

func (x *exchange) bothFolders(p string) bool {
	here, missing := x.volume.Lstat(p)
	there, err := x.there.root.Lstat(p)
	return errors.Join(missing, err) == nil && here.IsDir() && there.IsDir()
}

// again gives the entries of an earlier plan as they are now.
func (x *exchange) again(before iter.Seq2[entry, error]) iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
		for e, err := range before {
			e, err := x.look(string(e.Path), err)
			if err == nil && e.Here == (ident{}) && e.There == (ident{}) {
				continue
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// names gives the names in a folder, which may have very many. Stages in the volume's own are none of its content.
func names(root *os.Root, dir string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		f, err := root.Open(dir)
		if err != nil {
			yield("", err)
			return
		}
		defer f.Close()
		for {
			found, err := f.Readdirnames(1024)
			for _, name := range found {
				if dir == "." && kindOf(name) != "" {
					continue
				}
				if !yield(name, nil) {
					return
				}
			}
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield("", err)
				return
			}
		}
	}
}

// look gives an entry as it is now, unless there was an error before.
func (x *exchange) look(p string, failed error) (e entry, err error) {
	if failed != nil {
		return entry{}, failed
	}
	e.Path = []byte(p)
	here, err := x.at(p)
	if err != nil {
		return e, err
	}
	defer here.close()
	there, err := x.there.at(p)
	if err != nil {
		return e, err
	}
	defer there.close()
	if e.Here, err = x.ident(here); err == nil {
		e.There, err = x.ident(there)
	}
	return e, err
}
