package remote

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/folder"
)

// kind says what a frame holds.
type kind byte

const (
	aMessage kind = 'm'
	aPiece   kind = 'p' // of an archive
	theEnd   kind = 'e' // of an archive, which is whole
	givenUp  kind = 'g' // the rest of the archive does not come
)

// Sizes of frames in bytes. Messages carry reports with thousands of paths, which a kernel lets be of 4 KiB each.
const (
	headSize = 5
	most     = 64 << 20
	pieceful = 256 << 10
)

// request is what the folder is asked for.
type request struct {
	Do      verb
	Take    archive.Options        // its functions and its base do not travel
	Timed   bool                   // in place of its clock: the other end has one
	Extract archive.ExtractOptions // as with Take
	Size    int64                  // bytes that are to come out
	Part    bool                   // whether it is only some of what belongs there
	Again   bool                   // see folder.Replaced
	Before  time.Time              // see folder.Drop
}

type verb string

const (
	doTake     verb = "take"
	doFinish   verb = "finish"
	doEmpty    verb = "look whether it is empty"
	doList     verb = "list what is in it"
	doFill     verb = "fill"
	doStage    verb = "stage"
	doExchange verb = "exchange"
	doReplaced verb = "find what was replaced"
	doDiscard  verb = "remove what was replaced"
	doClose    verb = "close the stage"
	doDrop     verb = "remove all that was replaced"
	doSettle   verb = "settle what was being exchanged"
)

// answer is what comes of a request: progress, any number of times, and the outcome.
type answer struct {
	Progress int64 // bytes

	Done    bool
	Summary folder.Summary
	Report  archive.Report
	Empty   bool
	Where   string // the stage's folder
	Dropped int
	Settled bool
	Failure *failure
}

// wire is one end of the stream. Frames may be sent by several goroutines, and are received by one.
type wire struct {
	in *bufio.Reader

	mu  sync.Mutex
	out io.Writer
}

func newWire(in io.Reader, out io.Writer) *wire {
	return &wire{in: bufio.NewReaderSize(in, pieceful+headSize), out: out}
}

func (w *wire) send(k kind, payload []byte) error {
	head := [headSize]byte{byte(k)}
	binary.BigEndian.PutUint32(head[1:], uint32(len(payload)))
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, err := w.out.Write(head[:]); err != nil {
		return err
	}
	_, err := w.out.Write(payload)
	return err
}

func (w *wire) tell(message any) error {
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(message); err != nil {
		return fmt.Errorf("encode a message: %w", err)
	}
	return w.send(aMessage, b.Bytes())
}

// next gives the next frame's kind and size. io.EOF means that the stream ended between two frames.
func (w *wire) next() (kind, int, error) {
	var head [headSize]byte
	if _, err := io.ReadFull(w.in, head[:]); err != nil {
		return 0, 0, err
	}
	size := binary.BigEndian.Uint32(head[1:])
	if size > most {
		return 0, 0, fmt.Errorf("a frame of %d bytes is none of this protocol", size)
	}
	return kind(head[0]), int(size), nil
}

// hear reads a message of which next has read the head.
func (w *wire) hear(k kind, size int, message any) error {
	if k != aMessage {
		return fmt.Errorf("a frame of kind %q came out of turn", byte(k))
	}
	payload := io.LimitReader(w.in, int64(size))
	if err := gob.NewDecoder(payload).Decode(message); err != nil {
		return fmt.Errorf("decode a message: %w", cut(err))
	}
	_, err := io.Copy(io.Discard, payload)
	return err
}

// cut takes the end of the stream, where more has to come, for the error that it is.
func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// pieces writes an archive to the wire.
type pieces struct{ wire *wire }

func (p pieces) Write(data []byte) (n int, err error) {
	for len(data) > 0 && err == nil {
		piece := data[:min(len(data), pieceful)]
		if err = p.wire.send(aPiece, piece); err == nil {
			n, data = n+len(piece), data[len(piece):]
		}
	}
	return n, err
}

// incoming reads an archive from the wire.
type incoming struct {
	wire *wire
	left int // of the present piece
	err  error
}

var errGivenUp = errors.New("the archive did not come whole")

func (i *incoming) Read(p []byte) (int, error) {
	for i.err == nil && i.left == 0 {
		i.err = i.turn()
	}
	if i.err != nil {
		return 0, i.err
	}
	n, err := i.wire.in.Read(p[:min(len(p), i.left)])
	i.left -= n
	i.err = cut(err)
	return n, i.err
}

func (i *incoming) turn() error {
	k, size, err := i.wire.next()
	switch {
	case err != nil:
		return cut(err)
	case k == aPiece:
		i.left = size
		return nil
	case k == theEnd:
		return io.EOF
	case k == givenUp:
		return errGivenUp
	default:
		return fmt.Errorf("a frame of kind %q came within an archive", byte(k))
	}
}

// drain reads what is left of it, so that what follows can be understood.
func (i *incoming) drain() error {
	_, err := io.Copy(io.Discard, i)
	if errors.Is(err, errGivenUp) {
		return nil
	}
	return err
}
