package rclone

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode"
)

// flags are those of every command. A question for a password would wait for ever. The time at which S3 and its like stored an object is
// what is wanted of a listing, and another request for each object is not.
var flags = []string{"--ask-password=false", "--use-server-modtime"}

// process is rclone at work. It ends when its context does.
type process struct {
	*exec.Cmd
	ctx  context.Context
	said tail
}

func (s *Store) command(ctx context.Context, args ...string) *process {
	p := &process{ctx: ctx, Cmd: exec.CommandContext(ctx, s.program, slices.Concat(flags, args)...)}
	p.Stderr = &p.said
	// So that it can take back what it has begun, such as the parts of an upload.
	p.Cancel = func() error { return p.Process.Signal(syscall.SIGTERM) }
	p.WaitDelay = 5 * time.Second
	// A Ctrl-C is for backupd, which ends what it has begun in order.
	p.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return p
}

func (s *Store) run(ctx context.Context, args ...string) error {
	_, err := s.output(ctx, args...)
	return err
}

func (s *Store) output(ctx context.Context, args ...string) ([]byte, error) {
	p := s.command(ctx, args...)
	out, err := p.Output()
	return out, p.explain(err)
}

// wait is to be called once all that it prints was read.
func (p *process) wait() error { return p.explain(p.Wait()) }

// explain makes of an exit code what rclone said.
func (p *process) explain(err error) error {
	if err != nil && p.ctx.Err() != nil {
		return context.Cause(p.ctx)
	}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return &failure{code: exit.ExitCode(), words: p.said.words()}
	}
	return err
}

// failure is what rclone says when it has failed.
type failure struct {
	code  int
	words string
}

func (f *failure) Error() string {
	if f.words == "" {
		return fmt.Sprintf("rclone ended with exit code %d", f.code)
	}
	return "rclone: " + f.words + hint(f.words)
}

// isAbsent goes by rclone's exit codes: 3 is "directory not found", 4 is "file not found".
func isAbsent(err error) bool {
	f := (*failure)(nil)
	return errors.As(err, &f) && (f.code == 3 || f.code == 4)
}

func hint(words string) string {
	if strings.Contains(words, "didn't find section in config file") {
		return fmt.Sprintf(" (see `rclone listremotes`: backupd runs it as user %d, with the configuration that `rclone config file` "+
			"names for that user, or RCLONE_CONFIG)", os.Geteuid())
	}
	return ""
}

// Bounds in bytes: of what is kept of what rclone says, and of what an error repeats of it.
const (
	kept     = 8 << 10
	repeated = 500
)

// tail keeps the end of what is written to it.
type tail struct{ data []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.data = append(t.data, p...)
	if over := len(t.data) - kept; over > 0 {
		t.data = append(t.data[:0], t.data[over:]...)
	}
	return len(p), nil
}

var (
	stamp = regexp.MustCompile(`(?m)^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d `)
	// lead is what stands before a cause.
	lead = regexp.MustCompile(`^([A-Z]+ *: )?(Failed to [a-z]+( with \d+ errors)?: )?(last error was: )?(error in ListJSON: )?`)
	// Where a secret may be in what rclone repeats of a URL.
	credentials = regexp.MustCompile(`://[^\s/@"']*@`)
	query       = regexp.MustCompile(`(://[^\s?"']*\?)[^\s"']*`)
)

// words are rclone's last ones: it ends with why it has failed.
func (t *tail) words() string {
	text := string(t.data)
	if starts := stamp.FindAllStringIndex(text, -1); starts != nil {
		text = text[starts[len(starts)-1][1]:]
	}
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
	text = lead.ReplaceAllString(text, "")
	text = credentials.ReplaceAllString(text, "://...@")
	text = query.ReplaceAllString(text, "$1...")
	if len(text) > repeated {
		text = strings.ToValidUTF8(text[:repeated], "") + "..."
	}
	return text
}
