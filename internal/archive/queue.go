package archive

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// queue is an output that does the least at once: it clones large files, keeps the rest as it is, and leaves reading the clones, cutting
// into frames and compressing to drain.
//
// It is a sequence of records, in memory and beyond that in a scratch file. Each begins with a length in four bytes: that many bytes of
// the tar follow, or of none, a part of a clone, with the path of a file whose first bytes are wanted, or for leanMark, a slice.
type queue struct {
	direct  *direct
	clones  clones
	scratch string // folder
	limit   int64  // bytes that are kept before what there is must be drained
	waiting int64  // bytes of the tar that are in the queue

	mem  []byte   // the last records
	file *os.File // those before; nil until it is needed
	end  int64    // of what is in the file
}

const (
	// cloneFrom is the size from which on a file is cloned. A clone takes some 50 to 100 µs whatever the size; reading so much and
	// keeping it for later costs the same.
	cloneFrom    = 64 << 10
	queueMemory  = 1 << 20
	recordHeader = 4
	cloneRecord  = 7 * 8 // without the path
	leanRecord   = 3 * 8
	leanMark     = 1<<32 - 1
)

func (q *queue) size() int64 { return q.direct.tar + q.waiting }

// room makes a record for as many of n bytes as there is room for, one byte beyond it included.
func (q *queue) room(ctx context.Context, n int64) ([]byte, error) {
	if cap(q.mem)-len(q.mem) < recordHeader+int(min(n, cloneFrom))+1 {
		if err := q.flush(ctx); err != nil {
			return nil, err
		}
	}
	n = min(n, int64(cap(q.mem)-len(q.mem)-recordHeader-1))
	q.mem = binary.LittleEndian.AppendUint32(q.mem, uint32(n))
	at := len(q.mem)
	q.mem = q.mem[:at+int(n)]
	q.waiting += n
	return q.mem[at : at+int(n)], nil
}

func (q *queue) write(ctx context.Context, data []byte) error {
	for len(data) > 0 {
		room, err := q.room(ctx, int64(len(data)))
		if err != nil {
			return err
		}
		data = data[copy(room, data):]
	}
	return nil
}

func (q *queue) zeros(ctx context.Context, n int64) error {
	for n > 0 {
		room, err := q.room(ctx, n)
		if err != nil {
			return err
		}
		clear(room)
		n -= int64(len(room))
	}
	return nil
}

func (q *queue) source(fd int, size int64) source {
	if size >= cloneFrom {
		if from, ok := q.clones.clone(fd); ok {
			return from
		}
	}
	return source{fd: fd}
}

// segment queues a part of a file. What is large and could not be cloned is read right now, after all that comes before it.
func (q *queue) segment(ctx context.Context, from source, s segment, size int64) (resized bool, err error) {
	if from.cloned {
		return from.length != size, q.later(ctx, from, s, size)
	}
	if s.size == 0 {
		return false, nil
	}
	if s.size > cloneFrom {
		if err := q.drain(ctx); err != nil {
			return false, err
		}
		return q.direct.segment(ctx, from, s, size)
	}
	room, err := q.room(ctx, s.size)
	if err != nil {
		return false, err
	}
	n, err := q.direct.fill(from, room[:len(room)+1], s.at, len(room), size)
	if err != nil {
		return false, err
	}
	clear(room[min(n, len(room)):])
	return n != len(room), q.direct.count(ctx, min(n, len(room)))
}

// later makes a record of a part of a clone.
func (q *queue) later(ctx context.Context, from source, s segment, size int64) error {
	if s.at >= HeadSize {
		from.head = ""
	}
	if cap(q.mem)-len(q.mem) < recordHeader+cloneRecord+len(from.head) {
		if err := q.flush(ctx); err != nil {
			return err
		}
	}
	q.mem = append(q.mem, make([]byte, recordHeader)...)
	for _, n := range [cloneRecord / 8]int64{int64(from.fd), from.base, from.length, s.at, s.size, size, int64(len(from.head))} {
		q.mem = binary.LittleEndian.AppendUint64(q.mem, uint64(n))
	}
	q.mem = append(q.mem, from.head...)
	q.waiting += s.size
	return nil
}

// lean makes records of slices.
func (q *queue) lean(ctx context.Context, all []sliceRecord) error {
	for _, s := range all {
		if cap(q.mem)-len(q.mem) < recordHeader+leanRecord {
			if err := q.flush(ctx); err != nil {
				return err
			}
		}
		q.mem = binary.LittleEndian.AppendUint32(q.mem, leanMark)
		for _, n := range [leanRecord / 8]int64{int64(s.Archive), s.At, s.Length} {
			q.mem = binary.LittleEndian.AppendUint64(q.mem, uint64(n))
		}
		q.waiting += s.Length
	}
	return nil
}

// flush makes room in memory.
func (q *queue) flush(ctx context.Context) error {
	if q.mem == nil {
		q.mem = make([]byte, 0, queueMemory)
		return nil
	}
	if q.end+int64(len(q.mem)) > q.limit {
		return q.drain(ctx)
	}
	if q.file == nil {
		var err error
		if q.file, err = ScratchFile(q.scratch); err != nil {
			return err
		}
	}
	_, err := q.file.WriteAt(q.mem, q.end)
	if errors.Is(err, unix.ENOSPC) {
		return q.drain(ctx)
	}
	if err != nil {
		return fmt.Errorf("write to a scratch file: %w", err)
	}
	q.end += int64(len(q.mem))
	q.mem = q.mem[:0]
	return nil
}

// drain archives all that is in the queue.
func (q *queue) drain(ctx context.Context) error {
	if q.end > 0 {
		if err := q.replay(ctx, bufio.NewReaderSize(io.NewSectionReader(q.file, 0, q.end), 256<<10)); err != nil {
			return err
		}
	}
	if err := q.replay(ctx, bytes.NewReader(q.mem)); err != nil {
		return err
	}
	q.end, q.mem, q.waiting = 0, q.mem[:0], 0
	return nil
}

// replay archives records.
func (q *queue) replay(ctx context.Context, from io.Reader) error {
	for {
		var header [recordHeader]byte
		if _, err := io.ReadFull(from, header[:]); err == io.EOF {
			return nil
		} else if err != nil {
			return fmt.Errorf("read from a scratch file: %w", err)
		}
		var err error
		switch n := binary.LittleEndian.Uint32(header[:]); n {
		case 0:
			err = q.replayClone(ctx, from)
		case leanMark:
			err = q.replayLean(ctx, from)
		default:
			err = q.replayBytes(ctx, from, int(n))
		}
		if err != nil {
			return err
		}
	}
}

func (q *queue) replayBytes(ctx context.Context, from io.Reader, n int) error {
	for n > 0 {
		room, err := q.direct.room(ctx)
		if err != nil {
			return err
		}
		room = room[:min(n, len(room))]
		if _, err := io.ReadFull(from, room); err != nil {
			return fmt.Errorf("read from a scratch file: %w", unexpected(err))
		}
		q.direct.advance(len(room))
		n -= len(room)
	}
	return nil
}

func (q *queue) replayClone(ctx context.Context, from io.Reader) error {
	var n [cloneRecord / 8]int64
	if err := readNumbers(from, n[:]); err != nil {
		return err
	}
	head := make([]byte, n[6])
	if _, err := io.ReadFull(from, head); err != nil {
		return fmt.Errorf("read from a scratch file: %w", unexpected(err))
	}
	clone := source{fd: int(n[0]), cloned: true, base: n[1], length: n[2], head: string(head)}
	// Whether it has the size that it is to have was told when it was made.
	if _, err := q.direct.segment(ctx, clone, segment{n[3], n[4]}, n[5]); err != nil {
		return fmt.Errorf("read a clone: %w", err)
	}
	return nil
}

func (q *queue) replayLean(ctx context.Context, from io.Reader) error {
	var n [leanRecord / 8]int64
	if err := readNumbers(from, n[:]); err != nil {
		return err
	}
	return q.direct.lean(ctx, []sliceRecord{{Archive: int(n[0]), At: n[1], Length: n[2]}})
}

// readNumbers reads what is in a record.
func readNumbers(from io.Reader, n []int64) error {
	if err := binary.Read(from, binary.LittleEndian, n); err != nil {
		return fmt.Errorf("read from a scratch file: %w", unexpected(err))
	}
	return nil
}

// close gives up what is in the queue.
func (q *queue) close() {
	q.clones.close()
	if q.file != nil {
		_ = q.file.Close() // nothing in it is needed any more
		q.file = nil
	}
}
