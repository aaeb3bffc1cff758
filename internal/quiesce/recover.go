package quiesce

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/backupd/backupd/internal/durable"
)

// Pending tells whether there are journals in the folder, of holds of whichever process. It asks no engine.
func Pending(dir string) (bool, error) {
	all, err := durable.Logs(dir, journalEnd)
	return len(all) > 0, err
}

// Recover lets go of what processes that died have left held, and tells which containers it resumed. It may be called at any time, and
// as often as one likes: it leaves alone what living processes hold, what runs, and what somebody else has changed since. A journal
// that no hold has written is set aside, and nothing is done that it says.
func (k *Keeper) Recover(ctx context.Context) (resumed []string, err error) {
	paths, err := durable.Logs(k.dir, journalEnd)
	if err != nil || len(paths) == 0 {
		return nil, err
	}
	errs := []error{durable.SweepLogs(k.dir, k.now())}
	for _, path := range paths {
		names, err := k.recoverOne(ctx, path)
		resumed = append(resumed, names...)
		errs = append(errs, err)
	}
	return resumed, errors.Join(errs...)
}

func (k *Keeper) recoverOne(ctx context.Context, path string) (resumed []string, err error) {
	const longest = 8 << 20
	log, lines, err := durable.TakeLog(path, longest)
	switch {
	case errors.Is(err, durable.ErrLocked) || errors.Is(err, fs.ErrNotExist): // its process lives, or it is done
		return nil, nil
	case errors.Is(err, durable.ErrMalformed):
		return nil, k.setAside(path, err)
	case err != nil:
		return nil, err
	}
	left, err := k.read(lines)
	if errors.Is(err, errForeign) {
		return nil, errors.Join(fmt.Errorf("the hold of journal %s is not let go: %w: run \"backupd recover\" with the DOCKER_HOST of that engine", path, err), log.Close())
	}
	if err != nil {
		return nil, errors.Join(k.setAside(path, err), log.Close())
	}
	resumed, failed, err := k.letGoOf(ctx, left)
	if err != nil {
		return resumed, errors.Join(failed, err, log.Close())
	}
	return resumed, errors.Join(failed, durable.RemoveLog(path, log))
}

// setAside keeps a file that is no journal from being read again, and says so.
func (k *Keeper) setAside(path string, why error) error {
	aside := strings.TrimSuffix(path, journalEnd) + ".refused"
	return errors.Join(fmt.Errorf("%s is no journal of a hold, so nothing was done that it says; it is now %s: look whether containers "+
		"are paused or stopped that should run: %w", path, aside, why), os.Rename(path, aside))
}

// letGoOf lets go of what a dead process held, once no living one holds any of it, and runs the post-hooks that it owes. What failed
// there is not to be tried again.
func (k *Keeper) letGoOf(ctx context.Context, left left) (resumed []string, failed, err error) {
	if len(left.ids()) == 0 {
		return nil, nil, nil
	}
	claims := k.claims()
	defer func() { err = errors.Join(err, claims.close()) }()
	if _, err := claims.wait(ctx, left.ids()); err != nil {
		return nil, nil, fmt.Errorf("wait for containers that are held by another process: %w", err)
	}
	h := &Hold{
		keeper: k, held: left.held, hooks: hooking{begun: left.hooked, pending: left.pending}, doubts: &doubts{},
		watch: &watch{known: make(map[string]*known)}, unseen: k.forgotten, settles: left.settles,
	}
	if err := h.putInOrder(ctx); err != nil {
		return nil, nil, err
	}
	err = h.letGo(ctx)
	for _, t := range left.held {
		if t.resumed && t.err == nil {
			resumed = append(resumed, t.Container.Name)
		}
	}
	failed, owed := h.finishHooks(ctx)
	return resumed, failed, errors.Join(err, owed)
}

// ids are those of all containers that something is to be done to.
func (l left) ids() []string {
	var ids []string
	for _, t := range l.held {
		ids = append(ids, t.Container.ID)
	}
	for _, c := range l.hooked {
		ids = append(ids, c.Container.ID)
	}
	return ids
}

// forgotten tells whether the engine has gone down since it paused the container: it keeps the last events in memory only, so it has
// forgotten that it did. One that was too busy since is taken for the same.
func (k *Keeper) forgotten(ctx context.Context, t *held) bool {
	const skew, patience = time.Minute, 2 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for ev, err := range k.eng.Events(ctx, t.since.Add(-skew)) {
		if err != nil {
			break
		}
		if ev.Type == "container" && ev.Action == "pause" && ev.ID == t.Container.ID {
			return false
		}
	}
	return true
}
