package targets

import "testing"

func TestEnd(t *testing.T) {
	for _, c := range []struct{ size, off, n, want int64 }{
		{100, 0, -1, 100}, {100, 30, -1, 100}, {100, 30, 20, 50}, {100, 30, 0, 30}, {100, 30, 70, 100}, {100, 30, 71, 100},
		{100, 100, 5, 100}, {100, 130, 5, 130}, {100, 130, -1, 130}, {0, 0, -1, 0}, {0, 0, 1, 0},
		{100, 1, Unknown, 100}, {100, Unknown, Unknown, Unknown}, {Unknown, 7, -1, Unknown}, {Unknown, 7, 3, 10}, {Unknown, 7, Unknown, Unknown},
	} {
		if got := End(c.size, c.off, c.n); got != c.want {
			t.Errorf("%d bytes from %d of %d end at %d, want %d", c.n, c.off, c.size, got, c.want)
		}
	}
}
