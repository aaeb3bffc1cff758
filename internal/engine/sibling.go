package engine

// GuardLabel marks the containers that hold others for a backupd that runs in a container itself, with the name of that backupd's state.
const GuardLabel = "backupd.guard"

// Sibling is a container like another one, that runs this program's guard.
type Sibling struct {
	Of      string // id of the other one, or a prefix
	Name    string
	Labels  map[string]string
	Command []string
	Env     []string // NAME=VALUE
}
