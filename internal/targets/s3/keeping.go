package s3

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/backupd/backupd/internal/targets"
)

// keeping is how the server is to keep each object. What is empty is left to the bucket's own settings.
type keeping struct {
	class  types.StorageClass
	sse    types.ServerSideEncryption
	kmsKey string
	mode   types.ObjectLockMode
	days   int // that an object is locked for; 0 for not at all
}

// check finds settings that do not go together.
func (k keeping) check(p proof) error {
	switch {
	case k.kmsKey != "" && k.sse != types.ServerSideEncryptionAwsKms:
		return errors.New("kms-key goes with sse=aws:kms")
	case k.sse == types.ServerSideEncryptionAwsKms && p == byMD5:
		return errors.New("checksum=md5 proves nothing with sse=aws:kms, where the ETag is none")
	case (k.mode != "") != (k.days > 0):
		return errors.New("lock and lock-days go together: lock=governance&lock-days=30")
	case k.mode != "" && p == bySize:
		return errors.New("a server locks only what comes with a checksum: checksum=none does not go with lock")
	}
	return nil
}

// of is how what comes from a reader is to be kept.
func (k keeping) of(r io.Reader) keeping {
	if _, mark := r.(targets.Mark); mark {
		k.mode = ""
	}
	return k
}

// until is what goes with an object about its lock.
func (k keeping) until(now time.Time) (types.ObjectLockMode, *time.Time) {
	if k.mode == "" {
		return "", nil
	}
	return k.mode, aws.Time(now.AddDate(0, 0, k.days))
}

// confirm finds out whether the server keeps an object as it was asked to. There are servers that ignore what they do not know.
// Its errors go on with what the server has.
func (k keeping) confirm(there *s3.HeadObjectOutput) error {
	switch {
	case k.sse != "" && there.ServerSideEncryption != k.sse:
		return fmt.Errorf("it without sse=%s", k.sse)
	case k.mode != "" && (there.ObjectLockMode != k.mode || there.ObjectLockRetainUntilDate == nil):
		return fmt.Errorf("it without the lock (%s; to see it, the access key needs s3:GetObjectRetention)", mend(codeNoLocks))
	}
	return nil
}

// orNil is for what is left out of a request when it is empty.
func orNil(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// locked is an error that says why an object may not be removed now, or nil.
func locked(there *s3.HeadObjectOutput, now time.Time) error {
	if there.ObjectLockLegalHoldStatus == types.ObjectLockLegalHoldStatusOn {
		return targets.Kept{Why: "it is under legal hold"}
	}
	if until := aws.ToTime(there.ObjectLockRetainUntilDate); there.ObjectLockMode != "" && now.Before(until) {
		return targets.Kept{Why: fmt.Sprintf("locked until %s (%s)", until.UTC().Format(time.RFC3339), strings.ToLower(string(there.ObjectLockMode)))}
	}
	return nil
}

func parseStorageClass(value string) (types.StorageClass, error) {
	class := types.StorageClass(value)
	switch {
	case class == types.StorageClassGlacier || class == types.StorageClassDeepArchive:
		return "", fmt.Errorf("what is kept as %s cannot be read for hours, and backupd reads manifests all the time (%s can be)", value, types.StorageClassGlacierIr)
	case value == "" || strings.Trim(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != "":
		return "", fmt.Errorf("%q does not look like %s", value, types.StorageClassStandardIa)
	}
	return class, nil // others than AWS have classes of their own
}

func parseSSE(value string) (types.ServerSideEncryption, error) {
	switch sse := types.ServerSideEncryption(value); sse {
	case types.ServerSideEncryptionAes256, types.ServerSideEncryptionAwsKms:
		return sse, nil
	}
	return "", fmt.Errorf("%q is neither %s nor %s", value, types.ServerSideEncryptionAes256, types.ServerSideEncryptionAwsKms)
}

func parseLock(value string) (types.ObjectLockMode, error) {
	switch value {
	case "governance":
		return types.ObjectLockModeGovernance, nil
	case "compliance":
		return types.ObjectLockModeCompliance, nil
	}
	return "", fmt.Errorf("%q is neither governance nor compliance", value)
}

// parseLockDays has a bound of S3's, of a hundred years.
func parseLockDays(value string) (int, error) {
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || n > 36500 {
		return 0, fmt.Errorf("%q is not a number of days from 1 to 36500", value)
	}
	return n, nil
}
