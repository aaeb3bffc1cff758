package config

import (
	"fmt"
	"math"
	"strings"

	"github.com/dustin/go-humanize"
)

// Bytes is a number of bytes. Zero is what no text gives: not set.
type Bytes int64

// UnmarshalText reads a number of bytes with an optional unit: "512", "100MiB", "1.5 GB". K, M, G and so on are powers of 1000, Ki, Mi and
// Gi of 1024.
func (b *Bytes) UnmarshalText(text []byte) error {
	n, err := humanize.ParseBytes(string(text))
	// A comma is for humanize a mark between thousands, and for half of the world the decimal point.
	if err != nil || n == 0 || n > math.MaxInt64 || strings.Contains(string(text), ",") {
		return fmt.Errorf("%s is not a number of bytes from 1 on, such as 500000, 100MiB or 1.5GB; for none leave it out", show(string(text)))
	}
	*b = Bytes(n)
	return nil
}
