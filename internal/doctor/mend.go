package doctor

import (
	"context"
	"crypto/x509"
	"errors"
	"io/fs"
	"net"

	"golang.org/x/sys/unix"
)

// mend says how to mend what is told the same everywhere. Most errors of stores and engines say so themselves, in brackets.
func mend(err error) string {
	switch {
	case errors.Is(err, unix.EROFS):
		return "it is mounted read-only: look into the kernel's log for why (dmesg), or add it to ReadWritePaths= of the systemd unit"
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return "make room there"
	case errors.As(err, new(x509.CertificateInvalidError)):
		return "the server's certificate is not valid now: is it expired, or is this machine's clock wrong?"
	case errors.As(err, new(x509.HostnameError)):
		return "the server's certificate is for another name: is the address right?"
	case errors.As(err, new(x509.UnknownAuthorityError)):
		return "trust the authority that has signed the server's certificate: for S3 by ca-file= in the target's URL"
	case errors.As(err, new(*net.DNSError)):
		return "no such name is known: is the address right, and does DNS work here?"
	case errors.Is(err, fs.ErrPermission):
		return "whoever backupd runs as, or its key, lacks that right"
	case errors.Is(err, context.DeadlineExceeded):
		return "is the address right, and does this machine reach it?"
	}
	return ""
}
