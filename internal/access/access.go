// Package access opens the content of volumes, for reading or for writing, wherever it lives: as a folder of this host, after proof that it
// is the engine's own, or else through a helper container, which runs this same program beside the engine and mounts the volume.
//
// Helpers are made from an image of the running program itself, so that no registry is needed. They end when whoever uses them does, however
// that comes about; what was left of one that was made and never started is removed by the next to use any. What is done with a volume's
// content is left to packages folder and remote.
package access

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/folder"
)

// Folder is a volume's content, opened. It has to be closed.
type Folder interface {
	Path() string // on this host, or "" when it is not there
	Take(ctx context.Context, w io.Writer, o archive.Options) (Taking, error)
	Empty(ctx context.Context) (bool, error)
	Entries(ctx context.Context) iter.Seq2[archive.Indexed, error]
	Fill(ctx context.Context, from folder.Source) (archive.Report, error)
	Stage(ctx context.Context, from folder.Source) (Stage, archive.Report, error)
	Replaced(ctx context.Context, again bool) (Stage, error)
	Drop(ctx context.Context, before time.Time) (dropped int, err error)
	Settle(ctx context.Context) (settled bool, err error)
	Close() error
}

// Taking is an archive in the making, as package archive has it.
type Taking interface {
	Finish(ctx context.Context) (folder.Summary, error)
	Close()
}

// Stage is what a volume's content can be exchanged with.
type Stage interface {
	Where() string
	Exchange(ctx context.Context) error
	Discard(ctx context.Context) error
	Close(ctx context.Context) error
}

// Engine is what opening volumes asks of an engine.
type Engine interface {
	ProofEngine
	HelperEngine
}

// Access opens an engine's volumes.
type Access struct {
	paths   *paths
	helpers *helpers
}

// Options say how volumes are opened.
type Options struct {
	Owner   string    // of the helpers
	Lock    string    // path of the file that says whether this owner's helpers are in use
	Program string    // path of this program, for helpers to run
	Entropy io.Reader // for names of scratch volumes and helpers
}

// New gives an Access. It asks the engine nothing yet.
func New(eng Engine, o Options) *Access {
	return &Access{paths: &paths{eng: eng, entropy: o.Entropy}, helpers: &helpers{eng: eng, o: o}}
}

// Image gives the name of an image in the engine that has nothing in it but this program, as ProgramPath.
func (a *Access) Image(ctx context.Context) (string, error) {
	image, err := a.helpers.prepare(ctx)
	if err != nil {
		return "", fmt.Errorf("make an image of this program: %w", err)
	}
	return image.name, nil
}

// ProgramPath is where the images of this program have it.
const ProgramPath = "/" + imageBinary

// Sweep removes what helpers of this owner have left that were killed before they could start.
func (a *Access) Sweep(ctx context.Context) error { return a.helpers.sweep(ctx) }

// Reader opens a volume for reading. From then on it stays mounted, also while its containers are stopped.
func (a *Access) Reader(ctx context.Context, v engine.Volume) (Folder, error) {
	return a.open(ctx, v, false)
}

// Writer opens a volume for reading and writing.
func (a *Access) Writer(ctx context.Context, v engine.Volume) (Folder, error) {
	return a.open(ctx, v, true)
}

func (a *Access) open(ctx context.Context, v engine.Volume, write bool) (Folder, error) {
	dir, why := a.paths.find(ctx, v, write)
	if why == nil {
		return direct{folder.At(dir, true)}, nil
	}
	if elsewhere := (elsewhereError)(""); !errors.As(why, &elsewhere) {
		return nil, fmt.Errorf("open volume %q: %w", v.Name, why)
	}
	f, err := a.helpers.open(ctx, v, write)
	if err != nil {
		return nil, fmt.Errorf("open volume %q through a helper container (%w): %w", v.Name, why, err)
	}
	return f, nil
}

// elsewhereError is why a volume is not a folder that can be used here.
type elsewhereError string

func (e elsewhereError) Error() string { return string(e) }

// localDriver is the driver whose volumes are folders of the engine's host, unless they have options.
const localDriver = "local"

// find gives the folder with the volume's content, if it is one of this host.
func (p *paths) find(ctx context.Context, v engine.Volume, write bool) (string, error) {
	if v.Driver != localDriver || len(v.Options) > 0 {
		return "", elsewhereError("the engine mounts it only while a container uses it")
	}
	root, err := p.prove(ctx)
	if err != nil {
		return "", err
	}
	if !filepath.IsAbs(v.Mountpoint) || !within(v.Mountpoint, root) {
		return "", elsewhereError(fmt.Sprintf("the engine keeps it at %q, outside of its other volumes in %s", v.Mountpoint, root))
	}
	if err := isFolder(v.Mountpoint); err != nil {
		return "", err
	}
	if write && unix.Access(v.Mountpoint, unix.W_OK) != nil {
		return "", elsewhereError(v.Mountpoint + " can only be read here")
	}
	return v.Mountpoint, nil
}

// Direct opens volumes that are folders of this host by nature, and so need no proof.
type Direct struct{}

// Reader opens a volume for reading.
func (Direct) Reader(_ context.Context, v engine.Volume) (Folder, error) {
	if err := isFolder(v.Mountpoint); err != nil {
		return nil, fmt.Errorf("open volume %q: %w", v.Name, err)
	}
	return direct{folder.At(v.Mountpoint, v.Driver == localDriver)}, nil
}

// Writer opens a volume for reading and writing.
func (d Direct) Writer(ctx context.Context, v engine.Volume) (Folder, error) { return d.Reader(ctx, v) }

func isFolder(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return &fs.PathError{Op: "open", Path: path, Err: fmt.Errorf("it is no folder")}
	}
	return nil
}

// within tells whether the path lies below root, going by the names alone.
func within(path, root string) bool {
	return strings.HasPrefix(filepath.Clean(path), strings.TrimSuffix(root, "/")+"/")
}

// direct is a folder of this host.
type direct struct{ folder.Folder }

func (d direct) Take(ctx context.Context, w io.Writer, o archive.Options) (Taking, error) {
	t, err := d.Folder.Take(ctx, w, o)
	if err != nil { // and no nil that is not one
		return nil, err
	}
	return t, nil
}

func (d direct) Replaced(ctx context.Context, again bool) (Stage, error) {
	s, err := d.Folder.Replaced(ctx, again)
	if err != nil { // and no nil that is not one
		return nil, err
	}
	return s, nil
}

func (d direct) Stage(ctx context.Context, from folder.Source) (Stage, archive.Report, error) {
	s, report, err := d.Folder.Stage(ctx, from)
	if err != nil { // and no nil that is not one
		return nil, report, err
	}
	return s, report, nil
}
