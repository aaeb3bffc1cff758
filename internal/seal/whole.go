package seal

import (
	"bytes"
	"errors"
	"io"
)

// Seal encrypts what is small enough to be held in memory.
func (r Recipients) Seal(plain []byte) ([]byte, error) {
	var sealed bytes.Buffer
	w, err := r.Writer(&sealed)
	if err != nil {
		return nil, err
	}
	_, err = w.Write(plain)
	if err := errors.Join(err, w.Close()); err != nil {
		return nil, err
	}
	return sealed.Bytes(), nil
}

// Unseal is the inverse of Seal, for whoever has a key. What it gives is proven to be whole.
func Unseal(sealed []byte, keys *Keys) ([]byte, error) {
	plain, err := Stream(bytes.NewReader(sealed), keys)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(plain)
}
