package doctor

import (
	"context"
	"crypto/x509"
	"errors"

	"golang.org/x/sys/unix"
)

// mend says how to mend what keeps files of this host from being used.
func mend(err error) string {
	switch {
	case errors.Is(err, unix.EROFS):
		return "it is mounted read-only: look into the kernel's log for why (dmesg), or add it to ReadWritePaths= of the systemd unit"
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return "make room there"
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return "give it to the user that backupd runs as, or run it as root"
	}
	return ""
}

// mendTarget says how to mend what a store does not say itself: each knows best what is wrong with its kind, and has it in its errors.
func mendTarget(err error) string {
	switch {
	case errors.As(err, new(x509.CertificateInvalidError)):
		return "the server's certificate is not valid now: is it expired, or is this machine's clock wrong?"
	case errors.As(err, new(x509.HostnameError)):
		return "the server's certificate is for another name: is the address right?"
	case errors.Is(err, context.DeadlineExceeded):
		return "is the address right, and does this machine reach it?"
	}
	return ""
}
