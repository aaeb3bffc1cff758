package access

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/durable"
	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/engine/enginetest"
	"github.com/backupd/backupd/internal/faulttest"
	"github.com/backupd/backupd/internal/folder"
	"github.com/backupd/backupd/internal/remote"
)

// program writes the least that passes for a program: it is not run here.
func program(t *testing.T, needs ...elf.ProgType) string {
	t.Helper()
	var b bytes.Buffer
	header := elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT),
		Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: uint16(len(needs)), Shentsize: 64,
	}
	if err := binary.Write(&b, binary.LittleEndian, header); err != nil {
		t.Fatal(err)
	}
	for _, need := range needs {
		if err := binary.Write(&b, binary.LittleEndian, elf.Prog64{Type: uint32(need)}); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, b.Bytes(), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// newHelped gives an engine whose volume "share" only a helper can see, with a file in it.
func newHelped(t *testing.T) (*enginetest.Fake, engine.Volume, Options) {
	t.Helper()
	eng := enginetest.New(t)
	eng.Helper = func(in io.Reader, out io.Writer, volume string) error {
		return remote.Serve(context.WithoutCancel(t.Context()), in, out, folder.At(volume, false), time.Now)
	}
	v := eng.AddVolume(engine.Volume{Name: "share", Driver: "local", Options: map[string]string{"type": "nfs"}})
	if err := os.WriteFile(filepath.Join(v.Mountpoint, "file"), []byte("content"), 0o640); err != nil {
		t.Fatal(err)
	}
	return eng, v, Options{Owner: "owner", Lock: filepath.Join(t.TempDir(), "lock"), Program: program(t), Entropy: entropy("seed")}
}

func containers(t *testing.T, eng *enginetest.Fake) (names []string) {
	t.Helper()
	all, err := eng.Operator().Containers(context.WithoutCancel(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		names = append(names, c.Name)
	}
	return names
}

// read opens the volume, makes its archive and closes it.
func read(ctx context.Context, a *Access, v engine.Volume, w io.Writer) (err error) {
	f, err := a.Reader(ctx, v)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	t, err := f.Take(ctx, w, archive.Options{Level: archive.Fastest})
	if err != nil {
		return err
	}
	defer t.Close()
	_, err = t.Finish(ctx)
	return err
}

func TestAHelperReadsWhatADirectReaderWould(t *testing.T) {
	eng, v, o := newHelped(t)
	var got, want bytes.Buffer
	if err := read(t.Context(), New(eng, o), v, &got); err != nil {
		t.Fatal(err)
	}
	if _, err := archive.Create(t.Context(), v.Mountpoint, &want, archive.Options{Level: archive.Fastest}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want.Bytes()) {
		t.Errorf("%d bytes came through the helper, and they are not the %d of a direct reader", got.Len(), want.Len())
	}
}

// Whatever fails while a volume is read through a helper: no container is left, the lock is free, and the next try succeeds.
func TestEveryFaultOfAHelper(t *testing.T) {
	for _, kind := range faulttest.Kinds {
		for at, more := 1, true; more; at++ {
			t.Run(fmt.Sprintf("call %d fails %s", at, kind), func(t *testing.T) {
				eng, v, o := newHelped(t)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				eng.Faults = &faulttest.Injector{At: at, Kind: kind, Cancel: cancel}
				a := New(eng, o)
				err := read(ctx, a, v, io.Discard)
				calls := eng.Faults.Calls()
				if more = at <= len(calls); !more && err != nil {
					t.Fatal(err)
				}
				eng.Faults = nil
				leftByFault := at <= len(calls) && strings.HasPrefix(calls[at-1], "remove") && kind == faulttest.Before
				if left := containers(t, eng); len(left) > 0 && !(leftByFault && err != nil) {
					t.Errorf("after %v in %v there are containers: %q", err, calls, left)
				}
				if err := read(t.Context(), New(eng, o), v, io.Discard); err != nil {
					t.Errorf("then: %v", err)
				}
				if left := containers(t, eng); len(left) > 0 {
					t.Errorf("then there are containers: %q", left)
				}
				if lock, err := durable.TryLock(o.Lock); err != nil || lock.Unlock() != nil {
					t.Errorf("the lock is held: %v", err)
				}
				if diff := cmp.Diff([]string{"share"}, names(t, eng)); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

// What a killed process left goes, unless another process of the same owner is at work; what is another owner's stays in any case.
func TestOldHelpersAreSwept(t *testing.T) {
	for name, test := range map[string]struct {
		busy bool
		left []string
	}{
		"alone":              {false, []string{"of another", "app"}},
		"beside one at work": {true, []string{"old", "of another", "app"}},
	} {
		t.Run(name, func(t *testing.T) {
			eng, _, o := newHelped(t)
			eng.AddContainer(enginetest.Container{Container: engine.Container{Name: "old", State: engine.Created, Labels: map[string]string{engine.HelperLabel: "owner"}}})
			eng.AddContainer(enginetest.Container{Container: engine.Container{Name: "of another", Labels: map[string]string{engine.HelperLabel: "somebody"}}})
			eng.AddContainer(enginetest.Container{Container: engine.Container{Name: "app"}})
			if test.busy {
				lock, err := durable.ShareLock(t.Context(), o.Lock)
				if err != nil {
					t.Fatal(err)
				}
				defer lock.Unlock()
			}
			if err := New(eng, o).Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.left, containers(t, eng)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// The engine would make a volume of that name, and an empty one would be backed up.
func TestAVolumeThatIsGoneIsNotMade(t *testing.T) {
	eng, v, o := newHelped(t)
	if err := eng.Operator().RemoveVolume(t.Context(), v.Name); err != nil {
		t.Fatal(err)
	}
	if _, err := New(eng, o).Reader(t.Context(), v); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("error %v", err)
	}
	if left := names(t, eng); len(left) > 0 {
		t.Errorf("volumes: %q", left)
	}
	if left := containers(t, eng); len(left) > 0 {
		t.Errorf("containers: %q", left)
	}
}

func TestImagesOfOtherVersionsGo(t *testing.T) {
	eng, v, o := newHelped(t)
	if err := read(t.Context(), New(eng, o), v, io.Discard); err != nil {
		t.Fatal(err)
	}
	old, err := eng.Images(t.Context(), "")
	if err != nil || len(old) != 1 {
		t.Fatalf("images %q, error %v", old, err)
	}
	o.Program = program(t, elf.PT_LOAD) // another one
	if err := read(t.Context(), New(eng, o), v, io.Discard); err != nil {
		t.Fatal(err)
	}
	if now, err := eng.Images(t.Context(), ""); err != nil || len(now) != 1 || now[0] == old[0] {
		t.Errorf("images %q, error %v; before %q", now, err, old)
	}
}

func TestAHelperThatCannotRunIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*enginetest.Fake, *Options)
		want   string
	}{
		"on another architecture": {func(f *enginetest.Fake, _ *Options) { f.Kind = engine.Platform{OS: "linux", Arch: "s390x"} }, "the engine runs programs for linux/s390x"},
		"as it needs libraries":   {func(_ *enginetest.Fake, o *Options) { o.Program = program(t, elf.PT_INTERP) }, "build it with CGO_ENABLED=0"},
		"as it is no program":     {func(_ *enginetest.Fake, o *Options) { o.Program = "/etc/hostname" }, "make an image of this program"},
	} {
		t.Run(name, func(t *testing.T) {
			eng, v, o := newHelped(t)
			test.change(eng, &o)
			_, err := New(eng, o).Reader(t.Context(), v)
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), `volume "share" through a helper container (the engine mounts it only`) {
				t.Errorf("error %v", err)
			}
		})
	}
}
