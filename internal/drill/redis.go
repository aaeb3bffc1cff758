package drill

import (
	"context"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/recognise"
	"github.com/backupd/backupd/internal/snapshot"
)

// redisFile has the image's own checker read a file of a Redis server, RDB or AOF. An image without the checker leaves it to the server.
func (p *play) redisFile(ctx context.Context, d recognise.Find) (snapshot.Check, error) {
	if p.container == "" {
		return snapshot.Check{}, nil
	}
	kind := "check-aof"
	if strings.HasSuffix(d.File, ".rdb") {
		kind = "check-rdb"
	}
	began := p.Now()
	for _, program := range []string{"redis-" + kind, "valkey-" + kind} {
		t := p.trial
		t.Entrypoint, t.Command, t.User, t.Health = []string{program}, []string{path.Join(t.At, d.Folder, d.File)}, "0", nil
		exit, said, err := p.alone(ctx, t)
		if errors.Is(err, errNoProgram) {
			continue
		}
		done := snapshot.Check{Of: string(d.Kind), Asked: program + " " + path.Join(d.Folder, d.File), TookMS: p.Now().Sub(began).Milliseconds()}
		done.Answer, done.Failed = redisVerdict(exit, said)
		return done, err
	}
	return snapshot.Check{}, nil
}

// cutOff is how redis-check-aof tells of a file that ends in the middle of a command.
var cutOff = regexp.MustCompile(`Expected to read \d+ bytes, got \d+ bytes(?s:.*)diff=(\d+)`)

// mostCutOff is how many bytes of the last commands may be lacking, as they are when the file was copied while it was being written to. A server does
// without them; of more than this, nobody should.
const mostCutOff = 64 << 10

// redisVerdict reads what a checker says.
func redisVerdict(exit int, said string) (answer, failed string) {
	words := linesWithout(said, "[offset", "[info]", "Start ", "RDB preamble")
	if exit == 0 {
		lines := strings.Split(strings.TrimSpace(words), " | ")
		return lines[len(lines)-1], ""
	}
	if m := cutOff.FindStringSubmatch(said); m != nil {
		if lacking, err := strconv.Atoi(m[1]); err == nil && lacking <= mostCutOff {
			return fmt.Sprintf("sound, but for the last %d bytes, of a command that was being written: the server goes without it", lacking), ""
		}
	}
	return "", fmt.Sprintf("exit code %d: %s", exit, words)
}

// redis asks a Redis server, or one that is compatible.
type redis struct {
	in      console
	command []string // that it was started with
	cli     string   // path of the client; "" until it is found
	locked  string   // what the server says to who has no password
}

func (r *redis) answers(ctx context.Context) (string, error) {
	for _, name := range []string{"redis-cli", "valkey-cli"} {
		if r.cli != "" {
			break
		}
		cli, err := r.in.tool(ctx, name, "/usr/local/bin", "/opt/bitnami/redis/bin")
		if err != nil {
			return err.Error(), nil
		}
		r.cli = cli
	}
	if r.cli == "" {
		return "", errors.New("the image has no redis-cli to ask Redis with: say with backupd.drill.exec how to ask it")
	}
	_, said, err := r.in.run(ctx, r.ask("PING"))
	switch {
	case err != nil:
		return err.Error(), nil
	case strings.Contains(said.String(), "PONG"):
		return "", nil
	case strings.Contains(said.String(), "NOAUTH"), strings.Contains(said.String(), "NOPERM"):
		r.locked = said.String()
		return "", nil
	}
	return "it does not answer: " + said.String(), nil
}

// ask is a command of the client. The password is what the server was started with, or what a variable says.
func (r *redis) ask(words ...string) engine.Command {
	args := []string{r.cli, "--no-auth-warning"}
	if port := following(r.command, "--port"); port != "" {
		args = append(args, "-p", port)
	}
	cmd := engine.Command{Args: append(args, words...)}
	password := following(r.command, "--requirepass")
	if password == "" {
		password = value(r.in.env, "REDISCLI_AUTH", "REDIS_PASSWORD", "VALKEY_PASSWORD")
	}
	if password != "" {
		cmd.Env = []string{"REDISCLI_AUTH=" + password}
	}
	return cmd
}

// following gives the argument after another one, or "".
func following(args []string, name string) string {
	if i := slices.Index(args, name); i >= 0 && i+1 < len(args) {
		return args[i+1]
	}
	return ""
}

func (r *redis) examine(ctx context.Context, tell func(snapshot.Check)) error {
	if r.locked != "" {
		tell(snapshot.Check{
			Of: string(recognise.Redis), Asked: "PING", Answer: "it has loaded its data; nothing else can be asked without its password, which is not known: " + r.locked,
		})
		return nil
	}
	for _, words := range [][]string{{"PING"}, {"DBSIZE"}} {
		done, err := r.in.check(ctx, string(recognise.Redis), r.ask(words...))
		if err != nil {
			return err
		}
		if strings.HasPrefix(done.Answer, "ERR ") || done.Answer == "" && done.Failed == "" { // which the client takes for a success
			done.Failed, done.Answer = "it answers "+done.Answer, ""
		}
		tell(done)
	}
	return nil
}
