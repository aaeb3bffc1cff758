package access

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"github.com/backupd/backupd/internal/engine"
)

// Of the images, which have nothing in them but this program. Others of theirs are of other versions.
const (
	imagePrefix = "backupd-helper:"
	imageLabel  = "backupd.helper.image"
	imageBinary = "backupd"
)

// image is an image of a program, in the format of docker save: the same program gives the same image, whoever makes it.
type image struct {
	name    string
	program *os.File
	layer   string // digest
	config  []byte
}

// newImage reads the program, which has to need nothing but itself.
func newImage(program *os.File) (*image, error) {
	if err := static(program); err != nil {
		return nil, err
	}
	i := &image{program: program}
	digest := sha256.New()
	if err := i.writeLayer(digest); err != nil {
		return nil, err
	}
	i.layer = hex.EncodeToString(digest.Sum(nil))
	var err error
	i.config, err = json.Marshal(map[string]any{
		"os": runtime.GOOS, "architecture": runtime.GOARCH,
		"config": map[string]any{"Entrypoint": []string{ProgramPath, "helper"}, "Labels": map[string]string{imageLabel: "1"}, "WorkingDir": "/"},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + i.layer}},
	})
	i.name = imagePrefix + i.id()[:16]
	return i, err
}

func (i *image) id() string {
	sum := sha256.Sum256(i.config)
	return hex.EncodeToString(sum[:])
}

func static(program *os.File) error {
	f, err := elf.NewFile(program)
	if err != nil {
		return fmt.Errorf("read the program %s: %w", program.Name(), err)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("this backupd needs libraries of its machine, which no container has: build it with CGO_ENABLED=0")
		}
	}
	return nil
}

func (i *image) writeLayer(w io.Writer) error {
	info, err := i.program.Stat()
	if err != nil {
		return fmt.Errorf("read the program: %w", err)
	}
	tw := tar.NewWriter(w)
	if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: imageBinary, Mode: 0o755, Size: info.Size()}); err != nil {
		return err
	}
	if _, err := io.Copy(tw, io.NewSectionReader(i.program, 0, info.Size())); err != nil {
		return fmt.Errorf("read the program: %w", err)
	}
	return tw.Close()
}

// write writes what docker load takes.
func (i *image) write(w io.Writer) error {
	layer, config := i.layer+"/layer.tar", i.id()+".json"
	manifest, err := json.Marshal([]any{map[string]any{"Config": config, "RepoTags": []string{i.name}, "Layers": []string{layer}}})
	if err != nil {
		return err
	}
	var size counter
	if err := i.writeLayer(&size); err != nil {
		return err
	}
	tw := tar.NewWriter(w)
	for _, file := range []struct {
		name  string
		size  int64
		write func(io.Writer) error
	}{
		{config, int64(len(i.config)), bytesOf(i.config)},
		{layer, int64(size), i.writeLayer},
		{"manifest.json", int64(len(manifest)), bytesOf(manifest)},
	} {
		if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: file.name, Mode: 0o644, Size: file.size}); err != nil {
			return err
		}
		if err := file.write(tw); err != nil {
			return err
		}
	}
	return tw.Close()
}

func bytesOf(data []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.Copy(w, bytes.NewReader(data))
		return err
	}
}

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// load makes sure that the engine has the image.
func (i *image) load(ctx context.Context, eng HelperEngine) error {
	there, err := eng.HasImage(ctx, i.name)
	if err != nil || there {
		return err
	}
	pr, pw := io.Pipe()
	written := make(chan struct{})
	go func() {
		defer close(written)
		pw.CloseWithError(i.write(pw))
	}()
	err = eng.LoadImage(ctx, pr)
	_ = pr.Close() // lets the writer end when the engine refused
	<-written
	return err
}

// runnable tells whether the engine can run this program.
func runnable(ctx context.Context, eng HelperEngine) error {
	there, err := eng.Platform(ctx)
	if err != nil {
		return err
	}
	if here := (engine.Platform{OS: runtime.GOOS, Arch: runtime.GOARCH}); there != here {
		return fmt.Errorf("the engine runs programs for %s/%s, and this backupd is one for %s/%s: use the backupd that is made for the engine's machine",
			there.OS, there.Arch, here.OS, here.Arch)
	}
	return nil
}

// outdated are the images among names that are of other versions of this program.
func (i *image) outdated(names []string) (others []string) {
	for _, name := range names {
		if strings.HasPrefix(name, imagePrefix) && name != i.name {
			others = append(others, name)
		}
	}
	return others
}
