package drill

import (
	"fmt"
	"strings"
	"testing"

	"github.com/backupd/backupd/internal/snapshot"
)

func TestWhatRedisCheckersSay(t *testing.T) {
	for name, c := range map[string]struct {
		exit           int
		said           string
		answer, failed string
	}{
		"sound": {said: "Start checking\n[offset 0] x\nAOF x is valid\nAll AOF files and manifest are valid\n", answer: "All AOF files and manifest are valid"},
		"the last command is cut off": {
			exit: 1, said: "0x 26c: Expected to read 5 bytes, got 0 bytes\nAOF analyzed: filename=a, size=620, ok_up_to=594, ok_up_to_line=145, diff=26\nAOF a is not valid.\n",
			answer: "sound, but for the last 26 bytes",
		},
		"much is cut off": {
			exit: 1, said: "0x 26c: Expected to read 5 bytes, got 0 bytes\nAOF analyzed: filename=a, size=999999, ok_up_to=594, ok_up_to_line=145, diff=999405\n",
			failed: "exit code 1: 0x 26c: Expected",
		},
		"damaged": {exit: 1, said: "0x 62: Expected \\r\\n, got: 580a\nAOF analyzed: diff=544\n", failed: "exit code 1: 0x 62"},
	} {
		t.Run(name, func(t *testing.T) {
			answer, failed := redisVerdict(c.exit, c.said)
			if !strings.HasPrefix(answer, c.answer) || (answer == "") != (c.answer == "") || !strings.HasPrefix(failed, c.failed) || (failed == "") != (c.failed == "") {
				t.Errorf("answer %q, failed %q", answer, failed)
			}
		})
	}
}

func TestWhatMySQLsCheckerSays(t *testing.T) {
	for said, failed := range map[string]bool{
		"": false,
		"mysql.proxies | note     : The storage engine for the table doesn't support check": false,
		"app.t | Error    : Table `app`.`t` is corrupted. | error    : Corrupt":             true,
	} {
		if done := checked(snapshot.Check{Answer: said}); (done.Failed != "") != failed || (done.Answer != "") == failed {
			t.Errorf("of %q it makes %+v", said, done)
		}
	}
}

func TestTheBeginningIsKeptOfWhatMatters(t *testing.T) {
	h := &head{unless: func(line string) bool { return strings.HasSuffix(line, " OK") }}
	for i := range 10_000 {
		fmt.Fprintf(h, "t%d", i) // in pieces
		fmt.Fprintf(h, " OK\n")
	}
	fmt.Fprint(h, "t\nbad\n")
	if got := h.String(); got != "t | bad" {
		t.Errorf("kept %q", got)
	}
	fmt.Fprint(h, strings.Repeat("long ", mostSaid), "\n")
	if got := h.String(); len(got) > mostSaid+10 || !strings.HasSuffix(got, " ...") {
		t.Errorf("kept %d bytes: %.60q", len(got), got)
	}
}
