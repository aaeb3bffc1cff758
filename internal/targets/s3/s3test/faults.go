package s3test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
)

// Refuse answers with an error of S3.
func Refuse(status int, code string) Doing {
	return func(_ http.Handler, w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // else the client may see a broken connection first
		w.WriteHeader(status)
		fmt.Fprintf(w, "<Error><Code>%s</Code><Message>as the test wants</Message></Error>", code)
	}
}

// LoseAnswer lets the request take effect and breaks the connection.
func LoseAnswer(pass http.Handler, _ http.ResponseWriter, r *http.Request) {
	pass.ServeHTTP(httptest.NewRecorder(), r)
	panic(http.ErrAbortHandler)
}

// CutOff breaks the connection after so many bytes of the answer's body.
func CutOff(after int) Doing {
	return func(pass http.Handler, w http.ResponseWriter, r *http.Request) {
		answer := httptest.NewRecorder()
		pass.ServeHTTP(answer, r)
		for name, values := range answer.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes()[:min(after, answer.Body.Len())]) // the client may be gone
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

// Replay gives an answer that was recorded.
func Replay(w http.ResponseWriter, answer *httptest.ResponseRecorder) {
	for name, values := range answer.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes()) // the client may be gone
}

// Say answers with these headers and this body.
func Say(header map[string]string, body string) Doing {
	return func(_ http.Handler, w http.ResponseWriter, _ *http.Request) {
		for name, value := range header {
			w.Header().Set(name, value)
		}
		if w.Header().Get("Content-Range") != "" {
			w.WriteHeader(http.StatusPartialContent)
		}
		fmt.Fprint(w, body)
	}
}

// Nothing answers as the server would that has stored an object.
func Nothing(_ http.Handler, w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("ETag", `"9bb58f26192e4ba00f01e2e7b136bbd8"`)
	if r.Method == http.MethodPost {
		fmt.Fprint(w, `<CompleteMultipartUploadResult><ETag>"9bb58f26192e4ba00f01e2e7b136bbd8-2"</ETag></CompleteMultipartUploadResult>`)
	}
}

// Truncated lets a request take effect, and cuts off what it has made, if anything.
func (s *Server) Truncated(pass http.Handler, w http.ResponseWriter, r *http.Request) {
	answer := httptest.NewRecorder()
	pass.ServeHTTP(answer, r)
	if r.Method == http.MethodPut || r.Method == http.MethodPost {
		file := filepath.Join(s.Dir, filepath.FromSlash(r.URL.Path))
		if info, err := os.Stat(file); err == nil && answer.Code == http.StatusOK {
			_ = os.Truncate(file, info.Size()/2) // else it stays as it is, which does no harm
		}
	}
	Replay(w, answer)
}

// OldStory answers as it did the first time.
func OldStory() Doing {
	var told *httptest.ResponseRecorder
	return func(pass http.Handler, w http.ResponseWriter, r *http.Request) {
		if told == nil {
			told = httptest.NewRecorder()
			pass.ServeHTTP(told, r)
		}
		_, _ = io.Copy(io.Discard, r.Body) // of requests that have one
		Replay(w, told)
	}
}

// Reset breaks the connection, without an answer and without an effect.
func Reset(http.Handler, http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// Pass does nothing.
func Pass(pass http.Handler, w http.ResponseWriter, r *http.Request) { pass.ServeHTTP(w, r) }

// OtherETag gives the right answer with the mark of another object.
func OtherETag(pass http.Handler, w http.ResponseWriter, r *http.Request) {
	answer := httptest.NewRecorder()
	pass.ServeHTTP(answer, r)
	if answer.Header().Get("ETag") != "" {
		answer.Header().Set("ETag", `"9bb58f26192e4ba00f01e2e7b136bbd8"`)
	}
	Replay(w, answer)
}
