package s3

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/backupd/backupd/internal/targets"
)

// chunk is what one part is made of. It can be read as often as need be, until it is done with.
type chunk struct {
	content io.ReaderAt
	at      int64 // in content
	size    int64
	sum     []byte
	done    func()
}

// chunks cuts what is put into them.
type chunks struct {
	upload *upload
	from   io.Reader
	pool   *pool
	kept   *kept // nil where nothing can be read again
	read   int64 // bytes
}

func (u *upload) newChunks(r io.Reader) *chunks {
	c := &chunks{upload: u, from: r}
	if again, ok := r.(targets.Rereader); ok && u.store.at.proof != bySize { // what is read twice has to be proven the same
		c.kept = newKept(again, u.store.at.concurrency)
	}
	c.pool = newPool(u.store, int(min(u.store.at.sizeOfPart(1, c.kept != nil), mostInMemory)))
	return c
}

// next reads the chunk for the part of that number. At the end of the stream it is smaller, or empty, and the error io.EOF.
func (c *chunks) next(ctx context.Context, number int) (chunk, error) {
	at := c.upload.store.at
	size := at.sizeOfPart(number, c.kept != nil)
	if size > largestPart && c.kept != nil {
		return c.large(ctx, size)
	}
	buf, err := c.pool.take(ctx, int(size))
	if err != nil {
		return chunk{}, err
	}
	return c.fill(ctx, buf, 0)
}

// fill reads the rest of a buffer.
func (c *chunks) fill(ctx context.Context, buf []byte, n int) (chunk, error) {
	more, err := targets.Fill(ctx, c.from, buf[n:])
	if err != nil && err != io.EOF {
		return chunk{}, c.upload.unread(err)
	}
	return c.buffered(buf[:n+more]), err
}

func (c *chunks) buffered(buf []byte) chunk {
	c.read += int64(len(buf))
	return chunk{bytes.NewReader(buf), 0, int64(len(buf)), c.upload.store.at.proof.sum(buf), func() { c.pool.put(buf) }}
}

// large takes a chunk that does not come into memory, unless there is room for so little of it that it may as well.
func (c *chunks) large(ctx context.Context, size int64) (chunk, error) {
	at, begin := c.upload.store.at, c.read
	least := int64(largestPart)
	if at.partSize > 0 {
		least = at.partSize
	}
	h := at.proof.hash()
	n, err := c.kept.take(ctx, begin, size, least, h)
	switch {
	case err == nil || err == io.EOF:
		c.read += n
		return chunk{c.kept.from, begin, n, h.Sum(nil), func() { c.kept.end(begin) }}, err
	case !errors.Is(err, targets.ErrNoRoom):
		return chunk{}, c.upload.unread(err)
	case at.partSize > 0:
		return chunk{}, c.upload.tooNarrow(size)
	}
	buf, err := c.pool.take(ctx, largestPart)
	if err != nil {
		return chunk{}, err
	}
	if _, err := c.kept.from.ReadAt(buf[:n], begin); err != nil {
		return chunk{}, c.upload.unread(err)
	}
	c.kept.end(begin)
	return c.fill(ctx, buf, int(n))
}
