package engine

import "io"

// HelperLabel marks the containers that backupd runs for itself, with the owner id of whoever runs it.
const HelperLabel = "backupd.helper"

// Helper is a container that backupd runs for itself: it sees one volume and no network, and goes when its process ends, which has to be
// soon after its stdin does.
type Helper struct {
	Name         string
	Image        string
	Labels       map[string]string
	Volume       string            // that it mounts at HelperFolder; the engine makes one that is not there
	Made         map[string]string // labels of volumes that the engine makes for it
	ReadOnly     bool              // whether it can only read the volume
	Capabilities []string          // all that it has (capabilities(7), without CAP_)
}

// HelperFolder is where a helper sees its volume.
const HelperFolder = "/volume"

// Stream is what the process of a container reads and writes. Reading its stdout ends with io.EOF when it ended well, else with an error that
// has its exit code and what it said on stderr.
type Stream interface {
	io.ReadWriter
	CloseWrite() error // ends its stdin
	Close() error      // ends the connection, and calls in progress
}
