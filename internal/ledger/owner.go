package ledger

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/backupd/backupd/internal/durable"
)

const ownerBytes = 16

// loadOwner reads the owner id, or makes it. It has a file of its own, written once, so that a ledger that is lost does not make this host
// a stranger to its own snapshots.
func loadOwner(path string, entropy io.Reader) (string, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return makeOwner(path, entropy)
	}
	if err != nil {
		return "", err
	}
	owner := strings.TrimSuffix(string(data), "\n")
	if raw, err := hex.DecodeString(owner); err != nil || len(raw) != ownerBytes {
		return "", fmt.Errorf("%s holds no owner id: put back the one that this host's manifests have, or remove the file to be a new owner", path)
	}
	return owner, nil
}

func makeOwner(path string, entropy io.Reader) (string, error) {
	var raw [ownerBytes]byte
	if _, err := io.ReadFull(entropy, raw[:]); err != nil {
		return "", fmt.Errorf("draw random bits for an owner id: %w", err)
	}
	owner := hex.EncodeToString(raw[:])
	return owner, durable.WriteFile(path, []byte(owner+"\n"), 0o600)
}
