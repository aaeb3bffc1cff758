// Package docker is the only door to the Docker API: it translates between the API and the nouns of package engine, and sorts
// errors into the few that callers branch on.
//
// Every call is bounded in time, so that an engine that hangs never hangs its caller; an error does not mean that nothing
// happened, because an engine carries on with what it was asked after the caller has left. Retrying, reconnecting, and deciding what
// to do at all is left to the callers.
package docker

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/docker/docker/api/types/versions"
	"github.com/docker/docker/client"

	"github.com/backupd/backupd/internal/engine"
)

// answerLimit is how long an engine may take to answer, on top of the time that what it is asked for takes by itself.
const answerLimit = time.Minute

// oldest is the version of the API that this package needs (Docker 19.03).
const oldest = "1.40"

// Options say which engine to open, and how.
type Options struct {
	Host string // as in DOCKER_HOST; "" is what the environment says, else the usual socket
	Log  *slog.Logger
}

// Client is an engine of the Docker kind. It outlives restarts of the engine.
type Client struct {
	api *client.Client
	log *slog.Logger
}

// Open opens an engine, which has to answer.
func Open(ctx context.Context, o Options) (*Client, error) {
	options := []client.Opt{client.FromEnv, client.WithAPIVersionNegotiation()}
	if o.Host != "" {
		options = append(options, client.WithHost(o.Host))
	}
	api, err := client.NewClientWithOpts(options...)
	if err != nil {
		return nil, fmt.Errorf("open engine: %w", err)
	}
	c := &Client{api: api, log: o.Log}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if err := c.negotiate(ctx); err != nil {
		_ = api.Close() // idle connections only
		return nil, fmt.Errorf("open engine at %s: %w", api.DaemonHost(), err)
	}
	return c, nil
}

// Address is where the engine is reached, in the form of DOCKER_HOST.
func (c *Client) Address() string { return c.api.DaemonHost() }

// Close gives up connections that are kept for later calls.
func (c *Client) Close() error { return c.api.Close() }

func (c *Client) negotiate(ctx context.Context) error {
	scheme, _, _ := strings.Cut(c.api.DaemonHost(), "://")
	switch scheme {
	case "unix", "tcp", "http", "https":
	default:
		return fmt.Errorf("addresses of the kind %s:// are not supported, only unix:// and tcp://%s", scheme, forwarding(scheme))
	}
	ctx, cancel := bounded(ctx, answerLimit)
	defer cancel()
	ping, err := c.api.Ping(ctx)
	if err != nil {
		return c.sorted(ctx, err)
	}
	c.api.NegotiateAPIVersionPing(ping)
	if v := c.api.ClientVersion(); versions.LessThan(v, oldest) {
		return fmt.Errorf("it speaks version %s of the API, and at least %s is needed (Docker 19.03)", v, oldest)
	}
	return nil
}

// forwarding says how an engine is reached that is only to be had by SSH.
func forwarding(scheme string) string {
	if scheme != "ssh" {
		return ""
	}
	return "; forward its socket, with ssh -nNTL /run/engine.sock:/var/run/docker.sock HOST, and use unix:///run/engine.sock"
}

// Info asks the engine for its account of itself.
func (c *Client) Info(ctx context.Context) (engine.Info, error) {
	ctx, cancel := bounded(ctx, answerLimit)
	defer cancel()
	info, err := c.api.Info(ctx)
	if err != nil {
		return engine.Info{}, fmt.Errorf("ask the engine about itself: %w", c.sorted(ctx, err))
	}
	return engine.Info{ID: info.ID, Name: info.Name, Version: info.ServerVersion, API: c.api.ClientVersion(), Root: info.DockerRootDir}, nil
}

// bounded gives a call some time. Its end, unlike that of the caller's own context, means that the engine cannot be reached.
func bounded(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, limit, fmt.Errorf("%w: no answer within %s", engine.ErrUnreachable, limit))
}

// segment checks what is about to be part of an address. The client cleans addresses as if they were paths, so that removing a
// volume named ../containers/x would remove a container.
func segment(name string) error {
	if name == "" || name == "." || name == ".." || strings.Contains(name, "/") {
		return fmt.Errorf("%w: no name that an engine could have given", engine.ErrNotFound)
	}
	return nil
}
