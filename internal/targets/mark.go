package targets

import "io"

// Mark is a reader, given to Put, of what is no data, such as a pin: it has to be taken back whenever somebody wants to. So a place that
// locks what lies there does not lock this.
type Mark struct{ io.Reader }
