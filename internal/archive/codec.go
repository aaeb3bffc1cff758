package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/fxamacker/cbor/v2"
)

// codec reads and writes the CBOR of the index (RFC 8949): sequences (RFC 8742) of arrays, whose items are integers and byte strings.
type codec struct {
	enc cbor.UserBufferEncMode
	dec cbor.DecMode
}

func newCodec() (codec, error) {
	enc, err := cbor.EncOptions{
		TagsMd: cbor.TagsForbidden, IndefLength: cbor.IndefLengthForbidden, NilContainers: cbor.NilContainerAsEmpty,
	}.UserBufferEncMode()
	if err != nil {
		return codec{}, fmt.Errorf("set up the index: %w", err)
	}
	dec, err := cbor.DecOptions{
		DupMapKey:        cbor.DupMapKeyEnforcedAPF,
		MaxNestedLevels:  4,
		MaxArrayElements: maxSection / leastBlockInfo,
		MaxMapPairs:      64,
		IndefLength:      cbor.IndefLengthForbidden,
		TagsMd:           cbor.TagsForbidden,
		UTF8:             cbor.UTF8RejectInvalid,
	}.DecMode()
	if err != nil {
		return codec{}, fmt.Errorf("set up the index: %w", err)
	}
	return codec{enc, dec}, nil
}

func (c codec) append(b *bytes.Buffer, record any) error {
	if err := c.enc.MarshalToBuffer(record, b); err != nil {
		return fmt.Errorf("write a record of the index: %w", err)
	}
	return nil
}

// next takes the first record off a sequence, and gives io.EOF where it ends. What it reads is bounded by the sequence's own length.
func (c codec) next(sequence []byte, record any) (rest []byte, err error) {
	if len(sequence) == 0 {
		return nil, io.EOF
	}
	rest, err = c.dec.UnmarshalFirst(sequence, record)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, fmt.Errorf("read a record of the index: %w", err)
	}
	return rest, nil
}
