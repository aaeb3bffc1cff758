package testenv

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/docker/docker/api/types/image"
)

// Layer is the file system of an image in the making. The first error sticks.
type Layer struct {
	tw   *tar.Writer
	seen map[string]bool
	err  error
}

// Image makes an image of what fill puts into its layer, unless the engine has one of that name. Changes are lines of a Dockerfile
// (CMD, ENTRYPOINT, ENV, LABEL, USER, VOLUME, WORKDIR).
func (d *Docker) Image(name string, changes []string, fill func(*Layer)) string {
	d.t.Helper()
	if _, err := d.API.ImageInspect(d.t.Context(), name); err == nil {
		return name
	}
	pr, pw := io.Pipe()
	go func() {
		l := &Layer{tw: tar.NewWriter(pw), seen: map[string]bool{}}
		fill(l)
		pw.CloseWithError(errors.Join(l.err, l.tw.Close()))
	}()
	answer, err := d.API.ImageImport(d.t.Context(), image.ImportSource{Source: pr, SourceName: "-"}, name, image.ImportOptions{Changes: changes})
	if err == nil {
		_, err = io.Copy(io.Discard, answer) // done when it ends
		err = errors.Join(err, answer.Close())
	}
	_ = pr.Close() // lets the writer end when the engine refused
	d.must("import image "+name, err)
	return name
}

// Text adds a file.
func (l *Layer) Text(name, content string, mode int64) {
	l.add(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(content))}, strings.NewReader(content))
}

// Folder adds a folder of an owner.
func (l *Layer) Folder(name string, mode int64, owner int) {
	l.add(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: mode, Uid: owner, Gid: owner}, nil)
}

// Link adds a symbolic link.
func (l *Layer) Link(name, target string) {
	l.add(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}, nil)
}

// File adds a file of this machine, links followed, under the same path.
func (l *Layer) File(name string) {
	if l.err != nil || l.seen[name] {
		return
	}
	f, err := os.Open(name)
	if err != nil {
		l.err = err
		return
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err != nil {
		l.err = err
		return
	}
	l.add(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: int64(info.Mode().Perm()), Size: info.Size()}, f)
}

var library = regexp.MustCompile(`(?m)(/\S+) \(0x`)

// Program adds a program of this machine, with the libraries and the loader that it needs.
func (l *Layer) Program(name string) {
	l.File(name)
	out, err := exec.Command("ldd", name).Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return // statically linked
	}
	if err != nil {
		l.err = errors.Join(l.err, fmt.Errorf("ldd %s: %w", name, err))
		return
	}
	for _, found := range library.FindAllSubmatch(out, -1) {
		l.File(string(found[1]))
	}
}

// Tree adds a folder of this machine with all in it, except the names that are given.
func (l *Layer) Tree(root string, except ...string) {
	err := filepath.WalkDir(root, func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case contains(except, e.Name()) && e.IsDir():
			return fs.SkipDir
		case contains(except, e.Name()):
		case e.IsDir():
			l.Folder(name, 0o755, 0)
		default:
			l.File(name)
		}
		return nil
	})
	l.err = errors.Join(l.err, err)
}

func contains(names []string, name string) bool {
	for _, n := range names {
		if ok, _ := path.Match(n, name); ok { // patterns are of this package's own
			return true
		}
	}
	return false
}

func (l *Layer) add(h *tar.Header, content io.Reader) {
	h.Name = strings.TrimPrefix(h.Name, "/")
	if l.err != nil || l.seen["/"+h.Name] {
		return
	}
	l.seen["/"+h.Name] = true
	if l.err = l.tw.WriteHeader(h); l.err == nil && content != nil {
		_, l.err = io.Copy(l.tw, content)
	}
}
