package s3

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"strings"

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

// header is one of the answer's, or empty.
func header(err error, name string) string {
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) && response.Response != nil {
		return response.Response.Header.Get(name)
	}
	return ""
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
	opLock     operation = "look for a lock of"
	opLocks    operation = "look for object lock in"
	opExtend   operation = "extend the lock of"
)

// kind is the error that callers branch on; nil for none of them.
func (s *Store) kind(op operation, err error) error {
	code, status := answer(err)
	switch {
	case isAbsent(err):
		return fs.ErrNotExist
	case op == opPut && (code == "PreconditionFailed" || status == http.StatusPreconditionFailed):
		return fs.ErrExist
	case (op == opDelete || op == opUploads) && code == "AccessDenied":
		return targets.Kept{Why: plain(err) + s.hint(op, err)}
	case status == http.StatusUnauthorized || status == http.StatusForbidden || code == codeUnknownKey:
		return fs.ErrPermission
	}
	return nil
}

// wrap says what was attempted on which thing, the server's words, and how to mend what is often wrong.
func (s *Store) wrap(op operation, key string, err error) error {
	what := fmt.Sprintf("%s s3://%s/%s%s", op, s.at.bucket, s.at.prefix, key)
	if reason := plain(err); reason != "" {
		err = &failure{reason: reason + s.hint(op, err), kind: s.kind(op, err), cause: err}
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
