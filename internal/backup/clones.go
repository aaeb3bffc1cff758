package backup

import (
	"errors"
	"path/filepath"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/plan"
	"github.com/backupd/backupd/internal/quiesce"
)

// Clones gives the folder in which a volume's files are to be cloned, so that its containers are held for moments, or says why they are
// read while containers are held. dir is the folder with its content.
func Clones(v plan.Volume, dir string) (string, error) {
	if v.Quiesce.Value == quiesce.None {
		return "", errors.New("no container is held")
	}
	beside := filepath.Dir(dir)
	if err := archive.CanClone(dir, beside); err != nil {
		return "", err
	}
	return beside, nil
}

// writeBack makes cloning quick. Where it cannot, that only takes longer.
func (r *Runner) writeBack(readings []*reading) {
	for _, one := range readings {
		if one.clones == "" {
			continue
		}
		if err := archive.WriteBack(one.clones); err != nil {
			r.Log.Warn("containers may be held longer than need be", "volume", one.volume.Name, "err", err)
		}
	}
}
