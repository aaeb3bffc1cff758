package s3

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"hash/crc32"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// proof is how it is proven that a server has what was read: by a checksum that goes along with the bytes, and that the server is
// asked for when it has them.
type proof string

const (
	byCRC  proof = "crc32c" // in headers of its own
	byMD5  proof = "md5"    // in the header Content-MD5, and told as the ETag: what servers knew before there were others
	bySize proof = "none"   // only the size is asked for
)

func parseProof(value string) (proof, error) {
	switch p := proof(value); p {
	case byCRC, byMD5, bySize:
		return p, nil
	}
	return "", fmt.Errorf("%q is none of %s, %s and %s", value, byCRC, byMD5, bySize)
}

func (p proof) hash() hash.Hash {
	if p == byMD5 {
		return md5.New()
	}
	return crc32.New(crc32.MakeTable(crc32.Castagnoli))
}

// sum is nil where there is no checksum.
func (p proof) sum(data []byte) []byte {
	if p == bySize {
		return nil
	}
	h := p.hash()
	h.Write(data)
	return h.Sum(nil)
}

// headers gives a checksum as it is sent: in one of two headers, or in none.
func (p proof) headers(sum []byte) (crc, md5 *string) {
	text := aws.String(base64.StdEncoding.EncodeToString(sum))
	switch p {
	case byCRC:
		return text, nil
	case byMD5:
		return nil, text
	}
	return nil, nil
}

// algorithm is what a multipart upload has to announce.
func (p proof) algorithm() types.ChecksumAlgorithm {
	if p == byCRC {
		return types.ChecksumAlgorithmCrc32c
	}
	return ""
}

// mode makes the server tell the checksum of an object.
func (p proof) mode() types.ChecksumMode {
	if p == byCRC {
		return types.ChecksumModeEnabled
	}
	return ""
}

// ofParts is the checksum that a server tells of an object made of parts: that of their checksums, and how many there are.
func (p proof) ofParts(sums [][]byte) string {
	h := p.hash()
	for _, sum := range sums {
		h.Write(sum)
	}
	return fmt.Sprintf("%s-%d", p.text(h.Sum(nil)), len(sums))
}

// text is a checksum as a server tells it.
func (p proof) text(sum []byte) string {
	if p == byMD5 {
		return hex.EncodeToString(sum)
	}
	return base64.StdEncoding.EncodeToString(sum)
}

// told is the checksum that a server tells of an object, or empty.
func (p proof) told(there *s3.HeadObjectOutput) string {
	switch p {
	case byCRC:
		return aws.ToString(there.ChecksumCRC32C)
	case byMD5:
		if etag := strings.Trim(aws.ToString(there.ETag), `"`); isMD5(etag) {
			return etag
		}
	}
	return ""
}

// isMD5 tells whether an ETag looks like one, or like one of parts. It may be anything that a server likes.
func isMD5(etag string) bool {
	sum, _, _ := strings.Cut(etag, "-")
	return len(sum) == 2*md5.Size && strings.Trim(sum, "0123456789abcdef") == ""
}

// instead is what else may be set for a server that tells no checksum of that kind.
func (p proof) instead() string {
	if p == byMD5 {
		return "set checksum=none in the target's URL, to count on the size alone"
	}
	return "set checksum=md5 in the target's URL, or checksum=none to count on the size alone"
}

// content is what an object has to be.
type content struct {
	size int64
	sum  string // as the server tells it
}

// check compares what a server has with what it was sent. Its errors go on with what the server has.
func (p proof) check(want content, there *s3.HeadObjectOutput) error {
	size, sum := aws.ToInt64(there.ContentLength), p.told(there)
	switch {
	case size != want.size:
		return fmt.Errorf("%d bytes of the %d that were sent", size, want.size)
	case p == bySize || sum == want.sum:
		return nil
	case sum == "":
		return fmt.Errorf("no %s checksum of it to tell: %s", p, p.instead())
	}
	return fmt.Errorf("other bytes than were sent: their %s checksum is %s, and was %s", p, sum, want.sum)
}
