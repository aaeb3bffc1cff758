package s3

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

const elsewhere = "is the bucket in another region? set region= in the target's URL"

// mend says how to mend what the server refuses, by its code.
func mend(code string) string {
	switch code {
	case "NoSuchBucket":
		return "create the bucket, or correct its name in the target's URL"
	case "InvalidBucketName":
		return "correct the bucket's name in the target's URL"
	case "InvalidAccessKeyId", codeUnknownKey:
		return "the server does not know this access key: check AWS_ACCESS_KEY_ID or ~/.aws/credentials"
	case "SignatureDoesNotMatch":
		return "the secret key is wrong: check AWS_SECRET_ACCESS_KEY or ~/.aws/credentials"
	case "ExpiredToken":
		return "the temporary credentials have ended: get new ones"
	case "InvalidToken":
		return "AWS_SESSION_TOKEN does not belong to the access key"
	case codeNoLocks:
		return "lock= in the target's URL needs a bucket that was made with object lock"
	case "InvalidStorageClass":
		return "correct storage-class= in the target's URL"
	case "InvalidObjectState":
		return "it lies in an archive of the provider: have it restored there first"
	case "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "MovedPermanently", "PermanentRedirect":
		return elsewhere
	case "RequestTimeTooSkewed", "RequestExpired":
		return "the clock of this machine, or the server's, is wrong"
	}
	return ""
}

// needs is what an access key must be permitted for an operation, by the names that policies use.
func (s *Store) needs(op operation) string {
	locks, kms := s.at.keeping.mode != "", s.at.keeping.sse == types.ServerSideEncryptionAwsKms
	var rights []string
	switch op {
	case opList:
		rights = append(rights, "s3:ListBucket")
	case opPut:
		rights = append(rights, "s3:PutObject")
		if locks {
			rights = append(rights, "s3:PutObjectRetention")
		}
		if kms {
			rights = append(rights, "kms:GenerateDataKey", "kms:Decrypt")
		}
	case opDelete, opWithdraw:
		rights = append(rights, "s3:DeleteObject")
		if locks {
			rights = append(rights, "s3:DeleteObjectVersion")
		}
	case opUploads:
		rights = append(rights, "s3:ListBucketMultipartUploads")
	case opAbort:
		rights = append(rights, "s3:AbortMultipartUpload")
	case opLocks:
		rights = append(rights, "s3:GetBucketObjectLockConfiguration")
	case opExtend:
		rights = append(rights, "s3:GetObject", "s3:GetObjectRetention", "s3:PutObjectRetention")
	case opGet, opRead, opAsk:
		rights = append(rights, "s3:GetObject")
		if kms {
			rights = append(rights, "kms:Decrypt")
		}
	}
	return strings.Join(rights, ", ")
}

// hint says in brackets how to mend what an operation ran into, where that is known.
func (s *Store) hint(op operation, err error) string {
	code, status := answer(err)
	text := mend(code)
	switch region := header(err, "X-Amz-Bucket-Region"); {
	case region != "" && text == elsewhere:
		text = fmt.Sprintf("the bucket is in another region: set region=%s in the target's URL", region)
	case text == "" && (code == "AccessDenied" || status == http.StatusForbidden):
		text = "the access key needs " + s.needs(op)
	case text != "" || errors.Is(err, context.Canceled):
	case strings.HasPrefix(code, "KMS."):
		text = "check the key of kms-key= in the target's URL"
	case status == http.StatusNotImplemented && op == opPut:
		text = "the server does not know what it was asked: try checksum=md5 in the target's URL, and without storage-class, sse and lock"
	case code == "InvalidRequest" && s.at.keeping.mode != "":
		text = mend(codeNoLocks)
	case errors.Is(err, errNoCredentials):
		text = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or use ~/.aws/credentials"
	case errors.As(err, new(*net.DNSError)) && s.at.endpoint != "" && !s.at.pathStyle:
		text = "is the endpoint right? a server without a name for each bucket needs path-style=true in the target's URL"
	case errors.As(err, new(x509.UnknownAuthorityError)):
		text = "trust the authority that has signed its certificate: ca-file= in the target's URL"
	case errors.As(err, new(net.Error)):
		text = "is the endpoint right, and does this machine reach it?"
	}
	if text == "" {
		return ""
	}
	return " (" + text + ")"
}

// errNoCredentials marks that the SDK's chain found none.
var errNoCredentials = errors.New("no credentials were found")

// credentials are those of the SDK's chain.
type credentials struct{ aws.CredentialsProvider }

func (c credentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	found, err := c.CredentialsProvider.Retrieve(ctx)
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("%w: %w", errNoCredentials, err)
	}
	return found, err
}
