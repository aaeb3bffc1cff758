// Package access says where the content of a volume lies, for reading or for writing: in this version as a path on this host.
//
// A path is given only after proof that it is the engine's own, and only while the content really shows there. What lies in the
// folder, and how it is read, is left to others.
package access

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/backupd/backupd/internal/engine"
)

// Engine is what the proof asks of an engine.
type Engine interface {
	Volumes(ctx context.Context) ([]engine.Volume, error)
	CreateVolume(ctx context.Context, v engine.Volume) (engine.Volume, error)
	RemoveVolume(ctx context.Context, name string) error
}

// Proven gives paths of an engine's volumes, once it is proven that the engine keeps them on this host. The proof holds for the
// life of the Proven; one that failed is tried anew with the next path.
type Proven struct {
	eng        Engine
	entropy    io.Reader
	mountTable string // a file in the format of proc_pid_mountinfo(5)

	mu   sync.Mutex
	root string // folder of the engine's volumes; "" until proven
}

// NewProven gives a Proven that has yet to prove anything. The randomness is for names of scratch volumes.
func NewProven(eng Engine, entropy io.Reader) *Proven {
	return &Proven{eng: eng, entropy: entropy, mountTable: "/proc/self/mountinfo"}
}

// Path gives the folder with the volume's content. A volume that is mounted only while a container runs (NFS, tmpfs, ...) has a path
// only then: ask while its containers are held, and ask again each time.
func (p *Proven) Path(ctx context.Context, v engine.Volume) (string, error) {
	dir, err := p.path(ctx, v)
	if err != nil {
		return "", fmt.Errorf("open volume %q: %w", v.Name, err)
	}
	return dir, nil
}

func (p *Proven) path(ctx context.Context, v engine.Volume) (string, error) {
	root, err := p.prove(ctx)
	if err != nil {
		return "", err
	}
	if !filepath.IsAbs(v.Mountpoint) || !within(v.Mountpoint, root) {
		return "", fmt.Errorf("driver %q keeps it at %q, outside of the engine's own volumes in %s: such volumes cannot be read yet",
			v.Driver, v.Mountpoint, root)
	}
	if err := isFolder(v.Mountpoint); err != nil {
		return "", err
	}
	if len(v.Options) > 0 {
		return v.Mountpoint, p.mustBeMounted(v)
	}
	return v.Mountpoint, nil
}

// mustBeMounted refuses the folder of a volume that the engine mounts only for running containers, unless it is mounted right now:
// else it is empty, and so would be its backup.
func (p *Proven) mustBeMounted(v engine.Volume) error {
	real, err := filepath.EvalSymlinks(v.Mountpoint)
	if err != nil {
		return fmt.Errorf("look for its mount: %w", err)
	}
	mounted, err := isMountPoint(p.mountTable, real)
	if err != nil {
		return err
	}
	if !mounted {
		return fmt.Errorf("it has driver options, so the engine mounts it only while a container runs that uses it, and nothing is "+
			"mounted at %s: keep such a container running, with quiesce mode pause (in a container, backupd needs "+
			"-v %s:%[2]s:ro,rslave to see the mount)", v.Mountpoint, p.root)
	}
	return nil
}

// Direct gives paths of volumes that are folders of this host by nature, and so need no proof.
type Direct struct{}

// Path gives the folder with the volume's content.
func (Direct) Path(_ context.Context, v engine.Volume) (string, error) {
	if err := isFolder(v.Mountpoint); err != nil {
		return "", fmt.Errorf("open volume %q: %w", v.Name, err)
	}
	return v.Mountpoint, nil
}

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
