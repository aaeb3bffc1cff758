package docker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"syscall"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/client"

	"github.com/backupd/backupd/internal/engine"
)

// sorted puts an error of the client into the classes of package engine. The end of the caller's context stays what it is.
func (c *Client) sorted(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return err
	case errdefs.IsNotFound(err):
		return fmt.Errorf("%w: %w", engine.ErrNotFound, err)
	case errdefs.IsConflict(err):
		return fmt.Errorf("%w: %w", engine.ErrConflict, err)
	case client.IsErrConnectionFailed(err):
		return fmt.Errorf("%w: %w%s", engine.ErrUnreachable, err, hint(c.api.DaemonHost()))
	case errdefs.IsPermissionDenied(err):
		return fmt.Errorf("%w; a proxy before the engine has to allow this call", err)
	default:
		return err
	}
}

// hint says what would help against an engine that cannot be reached. The client drops the reason, so the socket is tried again.
func hint(host string) string {
	path, local := strings.CutPrefix(host, "unix://")
	if !local {
		return ""
	}
	conn, err := net.Dial("unix", path)
	switch {
	case err == nil:
		_ = conn.Close() // it answers by now; there is nothing on it to lose
		return ""
	case errors.Is(err, fs.ErrNotExist):
		return "; there is no socket at " + path + ": start the engine, or, in a container, mount its socket there"
	case errors.Is(err, fs.ErrPermission):
		return "; the socket " + path + " is not open to this user: add it to the group docker, or run as root"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "; nothing listens on " + path + ": start the engine (systemctl start docker)"
	default:
		return ""
	}
}
