package archive

import (
	"bytes"
	"crypto/sha256"

	"github.com/klauspost/compress/zstd"
)

// blockWriter packs records of one kind into index blocks, as they come.
type blockWriter struct {
	codec   codec
	encoder *zstd.Encoder
	shelf   shelf

	kind    tag
	blocks  []blockInfo // that are on the shelf
	current blockInfo
	records bytes.Buffer // of the current block
	first   int          // bytes of its first record, which may be as long as it likes
	section []byte
}

// fresh tells whether the next record is the first of a block, ending the current one if it is full.
func (w *blockWriter) fresh() (bool, error) {
	if w.records.Len()-w.first >= blockTarget {
		if err := w.seal(); err != nil {
			return false, err
		}
	}
	return w.records.Len() == 0, nil
}

// add puts a record into the current block. key has the first key, for the case that it becomes that.
func (w *blockWriter) add(record any, key blockInfo) error {
	if w.records.Len() == 0 {
		w.current = key
	}
	if err := w.codec.append(&w.records, record); err != nil {
		return err
	}
	if w.current.Count == 0 {
		w.first = w.records.Len()
	}
	w.current.Count++
	return nil
}

// seal ends the current block, unless it is empty.
func (w *blockWriter) seal() error {
	if w.records.Len() == 0 {
		return nil
	}
	w.section = appendSection(w.section[:0], w.kind, w.encoder, w.records.Bytes())
	b := w.current
	b.Kind, b.Length, b.Plain = w.kind, int64(len(w.section)), int64(w.records.Len())
	b.Digest = sha256.Sum256(w.section)
	w.blocks = append(w.blocks, b)
	w.records.Reset()
	w.current, w.first = blockInfo{}, 0
	return w.shelf.put(w.section)
}
