package mount

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// CheckPlace tells whether snapshots can be shown at a folder, and what to do if not.
func CheckPlace(dir string) error {
	st, err := os.Stat(dir)
	switch {
	case errors.Is(err, unix.ENOTCONN):
		return fmt.Errorf("%s: the program that has shown something there is dead: take that away first (umount %s, or fusermount -u)", dir, dir)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s is not there: make it (mkdir -p %s), and it will be empty again afterwards", dir, dir)
	case err != nil:
		return fmt.Errorf("look at the folder to mount at: %w", err)
	case !st.IsDir():
		return fmt.Errorf("%s is no folder: name an empty one", dir)
	}
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("look at the folder to mount at: %w", err)
	}
	defer f.Close() // it was only read from
	if _, err := f.Readdirnames(1); err == nil {
		return fmt.Errorf("%s is not empty, and what is in it would be hidden: name an empty folder", dir)
	} else if err != io.EOF {
		return fmt.Errorf("look at the folder to mount at: %w", err)
	}
	return nil
}

const (
	device = "/dev/fuse"

	inContainer = "in a container, start it with --device /dev/fuse --cap-add SYS_ADMIN (and --security-opt apparmor=unconfined where AppArmor is on)"
)

// checkMeans tells whether there is FUSE, and how to come by it if not.
func checkMeans() error {
	f, err := os.OpenFile(device, os.O_RDWR, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no FUSE here: %w: load the kernel's module (modprobe fuse); %s", err, inContainer)
	case err != nil && !isRoot():
		return fmt.Errorf("FUSE cannot be used: %w: be root, or let this user open it (chmod 0666 %s, as most systems have it)", err, device)
	case err != nil:
		return fmt.Errorf("FUSE cannot be used: %w: %s", err, inContainer)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("FUSE cannot be used: %w", err)
	}
	if isRoot() {
		return nil
	}
	_, err = fusermount()
	return err
}

// HowToEnd is the command that ends what is shown at a folder.
func HowToEnd(dir string) string {
	if isRoot() {
		return "umount " + dir
	}
	return "fusermount -u " + dir
}

// fusermount finds the program that mounts for users other than root.
func fusermount() (string, error) {
	for _, name := range []string{"fusermount3", "fusermount"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("mounting without being root takes the program fusermount3: install it (Debian: apt install fuse3), or be root")
}

// explain says what to do about a mount that failed.
func explain(dir string, err error) error {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("mount at %s: %w: %s", dir, err, inContainer)
	case errors.Is(err, unix.ENODEV):
		return fmt.Errorf("mount at %s: %w: the kernel has no FUSE: load its module (modprobe fuse)", dir, err)
	case isRoot():
		return fmt.Errorf("mount at %s: %w", dir, err)
	}
	return fmt.Errorf("mount at %s: %s (--allow-other takes a line \"user_allow_other\" in /etc/fuse.conf)", dir, strings.TrimSpace(err.Error()))
}
