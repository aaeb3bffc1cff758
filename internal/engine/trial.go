package engine

import "time"

// Setup is how a container's process is started. It holds values of environment variables, which are nobody's business.
type Setup struct {
	Entrypoint, Command []string
	Folder              string // working directory
	User                string
	Env                 []string // NAME=VALUE
	Health              *HealthCheck
	Memory              int64 // bytes that it may use; 0 for no limit
	Shared              int64 // bytes of shared memory; 0 for what the engine gives
}

// HealthCheck is a container's health check, in the words of the API. Times of 0 are those that the engine has.
type HealthCheck struct {
	Test                           []string
	Interval, Timeout, StartPeriod time.Duration
	Retries                        int
}

// Image is an image that the engine has.
type Image struct {
	ID      string   // digest of its configuration
	Digests []string // as registries have it, NAME@sha256:...
	Env     []string // NAME=VALUE
}

// Trial is a container in which something is tried out: without network and ports, and with bounds.
type Trial struct {
	Name   string
	Image  string // id
	Labels map[string]string
	Setup         // of which nil or "" is what the image says
	Volume string // whose content it has
	At     string // where it has it
	PIDs   int64  // that there may be in it
}

// Ending is how a container ended.
type Ending struct {
	Exit        int
	OutOfMemory bool   // it was killed for using more than it might
	Reason      string // why it could not be started, in the engine's words
}
