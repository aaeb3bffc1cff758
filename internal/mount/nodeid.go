package mount

import (
	"errors"

	"github.com/backupd/backupd/internal/archive"
)

// nodeID is FUSE's number of a node, and what is shown as that of its inode. Above snapshots they are counted. Below, it is made of the number of the
// snapshot, counted from 1, and the position of the entry in its index; the snapshot's own folder is the first entry. So hard links are one
// inode, under the number of the entry that they link to.
type nodeID uint64

const (
	recordBits = 18 // a block of the index has at most 4 MiB, and a record takes 23 bytes at least
	blockBits  = 26
	placeBits  = recordBits + blockBits
)

func snapshotNode(number int) nodeID { return nodeID(number+1) << placeBits }

// snapshot gives the number of the snapshot that a node is of, if it is of one.
func (n nodeID) snapshot() (number int, within bool) {
	s := n >> placeBits
	return int(s) - 1, s > 0
}

func (n nodeID) position() archive.Position {
	return archive.Position{Block: int(n >> recordBits & (1<<blockBits - 1)), Record: int(n & (1<<recordBits - 1))}
}

// place is the position in one number, from 0 on.
func (n nodeID) place() uint64 { return uint64(n & (1<<placeBits - 1)) }

// errTooLarge is said of an index that is too large for numbers.
var errTooLarge = errors.New("its index has more than can be numbered")

// entry gives the number of another entry of the same snapshot.
func (n nodeID) entry(p archive.Position) (nodeID, error) {
	if p.Block >= 1<<blockBits || p.Record >= 1<<recordBits {
		return 0, errTooLarge
	}
	return n>>placeBits<<placeBits | nodeID(p.Block)<<recordBits | nodeID(p.Record), nil
}
