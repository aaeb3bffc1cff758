package s3

import "bytes"

// inMemory is a chunk of those bytes.
func inMemory(s *Store, data []byte) chunk {
	return chunk{content: bytes.NewReader(data), size: int64(len(data)), sum: s.at.proof.sum(data), done: func() {}}
}
