package archive

import (
	"container/list"
	"context"
	"crypto/sha256"
	"errors"
	"sync"
)

// Cache keeps what was fetched and opened last of archives: parts of their indexes, and frames. It holds so many bytes, and one thing at
// least; several Readers may share one. What several ask for at the same time is fetched once.
type Cache struct {
	most  int64
	slots chan struct{} // of frames that are being fetched, which bounds what these hold

	mu    sync.Mutex
	held  int64
	known map[cacheKey]*kept
	used  list.List // of *kept; used last in front
}

// fetchesAtOnce is how many frames, each with those that are read ahead, are fetched at the same time for one cache.
const fetchesAtOnce = 6

// NewCache gives an empty cache of so many bytes.
func NewCache(most int64) *Cache {
	return &Cache{most: most, slots: make(chan struct{}, fetchesAtOnce), known: map[cacheKey]*kept{}}
}

// cacheKey says what a thing is by a digest that vouches for it: that of an archive's directory and the number of one of its blocks, or that
// of a frame.
type cacheKey struct {
	of     [sha256.Size]byte
	what   tag
	number int64
}

// kept is a thing in the cache, or one that is being fetched.
type kept struct {
	key    cacheKey
	done   chan struct{} // closed once the rest is set
	value  any
	weight int64
	err    error // such a thing is not kept
	gaveUp bool  // because of who fetched it, not of the thing

	place *list.Element // once it is kept; guarded by the cache
}

// through gives a thing from the cache, or fetches it. weigh tells how many bytes it holds.
func through[T any](ctx context.Context, c *Cache, key cacheKey, weigh func(T) int64, fetch func() (T, error)) (T, error) {
	for {
		k, mine := c.claim(key)
		if mine {
			return fill(ctx, c, k, weigh, fetch)
		}
		var none T
		select {
		case <-k.done:
		case <-ctx.Done():
			return none, context.Cause(ctx)
		}
		if k.err == nil {
			return k.value.(T), nil
		}
		if !k.gaveUp {
			return none, k.err
		}
	}
}

// fill fetches what nobody else does.
func fill[T any](ctx context.Context, c *Cache, k *kept, weigh func(T) int64, fetch func() (T, error)) (value T, err error) {
	err = errPanicked
	defer func() {
		k.err, k.gaveUp = err, ctx.Err() != nil
		if err == nil {
			k.value, k.weight = value, weigh(value)
		}
		c.settle(k)
	}()
	return fetch()
}

// errPanicked is what others get who wait for a fetch that did not come back.
var errPanicked = errors.New("fetching it did not come to an end")

// slot waits until few enough frames are being fetched. Whoever has a slot must not wait for another.
func (c *Cache) slot(ctx context.Context) (release func(), err error) {
	select {
	case c.slots <- struct{}{}:
		return func() { <-c.slots }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// claim gives the thing of a key, and whether it is new and whoever asks is to fetch it.
func (c *Cache) claim(key cacheKey) (k *kept, mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.known[key]; k != nil {
		if k.place != nil {
			c.used.MoveToFront(k.place)
		}
		return k, false
	}
	k = &kept{key: key, done: make(chan struct{})}
	c.known[key] = k
	return k, true
}

// settle lets others have what was fetched, and makes room for it.
func (c *Cache) settle(k *kept) {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(k.done)
	if k.err != nil {
		delete(c.known, k.key)
		return
	}
	k.place = c.used.PushFront(k)
	c.held += k.weight
	for c.held > c.most && c.used.Len() > 1 {
		last := c.used.Remove(c.used.Back()).(*kept)
		delete(c.known, last.key)
		c.held -= last.weight
	}
}

// keep puts a thing into the cache that nobody has asked for, unless somebody has by now.
func keep[T any](c *Cache, key cacheKey, value T, weigh func(T) int64) {
	if k, mine := c.claim(key); mine {
		k.value, k.weight = value, weigh(value)
		c.settle(k)
	}
}

// has tells whether a thing is in the cache, or is being fetched.
func (c *Cache) has(key cacheKey) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known[key] != nil
}
