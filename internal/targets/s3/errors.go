package s3

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/backupd/backupd/internal/targets"
)

// answer is what the server said: its code, or what its HTTP status stands for where there is no text (HEAD), and "" where
// there was no answer at all.
func answer(err error) (code string, status int) {
	var api smithy.APIError
	if errors.As(err, &api) {
		code = api.ErrorCode()
	}
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) {
		status = response.HTTPStatusCode()
	}
	return code, status
}

// codeUnknownKey is what versitygw says, with a 404, instead of InvalidAccessKeyId.
const codeUnknownKey = "XAdminUserNotFound"

// codeNoLocks is of a bucket that cannot lock objects.
const codeNoLocks = "ObjectLockConfigurationNotFoundError"

// isAbsent tells whether the object is not there. A bucket that is not there is another matter: nothing can be said of the object.
func isAbsent(err error) bool {
	code, _ := answer(err)
	return code == "NoSuchKey" || code == "NotFound"
}

// operation is what was attempted, in the words of errors.
type operation string

const (
	opList     operation = "list"
	opGet      operation = "get"
	opRead     operation = "read"
	opPut      operation = "put"
	opAsk      operation = "ask for what was put as"
	opWithdraw operation = "take away what was put as"
	opDelete   operation = "delete"
	opUploads  operation = "list uploads in"
	opAbort    operation = "abort upload of"
	opLocks    operation = "look for object lock in"
)

// kind is the error that callers branch on; nil for none of them.
func kind(op operation, err error) error {
	code, status := answer(err)
	switch {
	case isAbsent(err):
		return fs.ErrNotExist
	case op == opPut && (code == "PreconditionFailed" || status == http.StatusPreconditionFailed):
		return fs.ErrExist
	case (op == opDelete || op == opUploads) && code == "AccessDenied":
		return targets.Kept{Why: "the access key may not " + string(op) + " it (" + plain(err) + ")"}
	case status == http.StatusUnauthorized || status == http.StatusForbidden || code == codeUnknownKey:
		return fs.ErrPermission
	}
	return nil
}

// wrap says what was attempted on which thing, the server's words, and how to mend what is often wrong.
func (s *Store) wrap(op operation, key string, err error) error {
	what := fmt.Sprintf("%s s3://%s/%s%s", op, s.at.bucket, s.at.prefix, key)
	if reason := plain(err); reason != "" {
		err = &failure{reason: reason + s.hint(op, err), kind: kind(op, err), cause: err}
	}
	return fmt.Errorf("%s: %w", what, err)
}

// failure has short words for an error of the SDK, whose own are a list of layers and numbers.
type failure struct {
	reason      string
	kind, cause error
}

func (f *failure) Error() string { return f.reason }

func (f *failure) Unwrap() []error {
	if f.kind == nil {
		return []error{f.cause}
	}
	return []error{f.kind, f.cause}
}

// plain is empty for errors that are not the SDK's.
func plain(err error) string {
	var api smithy.APIError
	var op *smithy.OperationError
	switch code, status := answer(err); {
	case errors.As(err, &api) && api.ErrorMessage() != "" && api.ErrorMessage() != code:
		return fmt.Sprintf("%s: %s", code, strings.TrimSuffix(api.ErrorMessage(), "."))
	case code != "":
		return fmt.Sprintf("%s (HTTP %d)", code, status)
	case errors.As(err, &op):
		return innermost(op.Err)
	}
	return ""
}

// innermost leaves out what the layers of the SDK add: numbers of attempts, empty request ids, and the URL with all its parameters.
func innermost(err error) string {
	if u := (*url.Error)(nil); errors.As(err, &u) {
		return u.Err.Error()
	}
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}

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
	case "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "MovedPermanently", "PermanentRedirect":
		return "is the bucket in another region? set region= in the target's URL"
	case "RequestTimeTooSkewed":
		return "the clock of this machine, or the server's, is wrong"
	}
	return ""
}

// needs is what an access key must be permitted for an operation, by the names that policies use.
func (s *Store) needs(op operation) string {
	locks, kms := s.at.keeping.mode != "", s.at.keeping.sse == types.ServerSideEncryptionAwsKms
	switch {
	case op == opList:
		return "s3:ListBucket"
	case op == opPut && locks && kms:
		return "s3:PutObject, s3:PutObjectRetention, kms:GenerateDataKey and kms:Decrypt"
	case op == opPut && locks:
		return "s3:PutObject and s3:PutObjectRetention"
	case op == opPut && kms:
		return "s3:PutObject, kms:GenerateDataKey and kms:Decrypt"
	case op == opPut:
		return "s3:PutObject"
	case op == opDelete && locks:
		return "s3:DeleteObjectVersion"
	case op == opDelete || op == opWithdraw:
		return "s3:DeleteObject"
	case op == opUploads:
		return "s3:ListBucketMultipartUploads"
	case op == opAbort:
		return "s3:AbortMultipartUpload"
	case op == opLocks:
		return "s3:GetBucketObjectLockConfiguration"
	case kms:
		return "s3:GetObject and kms:Decrypt"
	}
	return "s3:GetObject"
}

func (s *Store) hint(op operation, err error) string {
	code, status := answer(err)
	text := mend(code)
	switch {
	case text == "" && (code == "AccessDenied" || status == http.StatusForbidden):
		text = "the access key needs " + s.needs(op)
	case text != "" || errors.Is(err, context.Canceled):
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
