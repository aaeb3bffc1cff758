package targets_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/backupd/backupd/internal/targets"
)

var errTorn = errors.New("torn on purpose")

// reading reads a text that breaks off each time after some bytes.
func reading(t *testing.T, text string, pieces ...int) *targets.Reading {
	t.Helper()
	piece := func(off int64) io.ReadCloser {
		n := len(text) - int(off)
		if len(pieces) > 0 {
			n, pieces = min(n, pieces[0]), pieces[1:]
		}
		return io.NopCloser(io.MultiReader(strings.NewReader(text[off:int(off)+n]), iotest.ErrReader(errTorn)))
	}
	return &targets.Reading{
		Ctx: t.Context(), End: int64(len(text)), Body: piece(0), Attempts: 3,
		Again: func(off int64, _ int, failure error) (io.ReadCloser, error) {
			if failure != errTorn {
				t.Errorf("it broke off by %v", failure)
			}
			return piece(off), nil
		},
		Wrap: func(err error) error { return errors.Join(errors.New("read the text"), err) },
	}
}

func TestAnObjectIsReadOnWhereItBreaksOff(t *testing.T) {
	const text = "some words to be read"
	got, err := io.ReadAll(reading(t, text, 3, 0, 1, 0, 5))
	if err != nil || string(got) != text {
		t.Errorf("%q, %v", got, err)
	}
}

func TestWhatBreaksOffAgainAndAgainIsAnErrorForGood(t *testing.T) {
	r := reading(t, "some words", 4, 0, 0, 0)
	got, err := io.ReadAll(r)
	if !errors.Is(err, io.ErrUnexpectedEOF) || !errors.Is(err, errTorn) || !strings.Contains(err.Error(), "read the text") || !bytes.Equal(got, []byte("some")) {
		t.Errorf("%q, %v", got, err)
	}
	if n, again := r.Read(make([]byte, 1)); n != 0 || again != err {
		t.Errorf("then it gives %d bytes, %v", n, again)
	}
}

func TestNothingIsReadOnOnceItWasClosedOrItsContextEnded(t *testing.T) {
	r := reading(t, "some words")
	if err := errors.Join(r.Close(), r.Close()); err != nil {
		t.Error(err)
	}
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, os.ErrClosed) {
		t.Errorf("read: %v", err)
	}
	r = reading(t, "some words", 4)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r.Ctx = ctx
	if _, err := io.ReadAll(r); !errors.Is(err, context.Canceled) {
		t.Errorf("read: %v", err)
	}
}
