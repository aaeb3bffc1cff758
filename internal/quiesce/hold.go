package quiesce

import (
	"context"
	"errors"
)

// Hold is a set of containers that hold still.
type Hold struct{ lost chan struct{} }

// Hold makes the containers hold still that the request is about.
func (k *Keeper) Hold(ctx context.Context, req Request) (*Hold, error) {
	return nil, errors.ErrUnsupported
}

// Lost is closed when the data may move although the hold has not been released.
func (h *Hold) Lost() <-chan struct{} { return h.lost }

// Release lets all containers go.
func (h *Hold) Release(ctx context.Context) (Report, error) { return Report{}, errors.ErrUnsupported }
