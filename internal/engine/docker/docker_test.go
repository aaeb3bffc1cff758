package docker

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/docker/docker/client"
	"github.com/google/go-cmp/cmp"

	"github.com/backupd/backupd/internal/engine"
)

// answers is an engine that gives prepared answers, by method and path without the version; others are 404. The answer "hang" never
// comes.
type answers map[string]string

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	_, path, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v"), "/")
	answer, known := a[r.Method+" /"+path]
	status := http.StatusOK
	switch code, rest, _ := strings.Cut(answer, " "); {
	case answer == "hang":
		<-r.Context().Done()
		return nil, r.Context().Err()
	case !known:
		status, answer = http.StatusNotFound, `{"message":"nothing here"}`
	case code == "403":
		status, answer = http.StatusForbidden, rest
	case code == "500":
		status, answer = http.StatusInternalServerError, rest
	case code == "503":
		status, answer = http.StatusServiceUnavailable, rest
	}
	return &http.Response{
		StatusCode: status, Request: r, Body: io.NopCloser(strings.NewReader(answer)),
		Header: http.Header{"Content-Type": {"application/json"}, "Api-Version": {"1.41"}},
	}, nil
}

func opened(t *testing.T, a answers) *Client {
	t.Helper()
	api, err := client.NewClientWithOpts(client.WithHTTPClient(&http.Client{Transport: a}), client.WithVersion("1.41"))
	if err != nil {
		t.Fatal(err)
	}
	return &Client{api: api, log: slog.New(slog.DiscardHandler)}
}

const whole = `{"Id":"c1","Name":"/web","Image":"sha256:1","State":{"Status":"running","Running":true,"StartedAt":"2026-11-23T03:00:00.5Z"},` +
	`"Config":{"Image":"web:1","Labels":{"a":"b"}},"HostConfig":{},"Mounts":[{"Type":"tmpfs","Destination":"/tmp","RW":true},` +
	`{"Type":"volume","Name":"v","Source":"/s","Destination":"/d","RW":true}]}`

func TestAContainerIsReadFromAnyAnswer(t *testing.T) {
	for name, test := range map[string]struct {
		change func(string) string
		check  func(engine.Container) bool // nil: it is an error
	}{
		"whole": {
			func(s string) string { return s },
			func(c engine.Container) bool {
				return c.Name == "web" && c.Image == "web:1" && c.ImageID == "sha256:1" && c.State == engine.Running && c.StopTimeout == 10*time.Second &&
					c.Started.Equal(time.Date(2026, 11, 23, 3, 0, 0, 5e8, time.UTC)) && len(c.Mounts) == 1 && c.Mounts[0].Volume == "v"
			},
		},
		"a state that another engine has, while it runs": {
			func(s string) string { return strings.Replace(s, `"Status":"running"`, `"Status":"stopping"`, 1) },
			func(c engine.Container) bool { return c.State == engine.Running },
		},
		"a state that another engine has, at rest": {
			func(s string) string {
				return strings.Replace(s, `"Status":"running","Running":true`, `"Status":"configured"`, 1)
			},
			func(c engine.Container) bool { return c.State == engine.Exited },
		},
		"never to be killed": {
			func(s string) string { return strings.Replace(s, `"Config":{`, `"Config":{"StopTimeout":-5,`, 1) },
			func(c engine.Container) bool { return c.StopTimeout == -1 },
		},
		"killed in a thousand years": {
			func(s string) string {
				return strings.Replace(s, `"Config":{`, `"Config":{"StopTimeout":31557600000,`, 1)
			},
			func(c engine.Container) bool { return c.StopTimeout == (1<<31-1)*time.Second },
		},
		"without health check": {
			func(s string) string {
				return strings.Replace(s, `"State":{`, `"State":{"Health":{"Status":"none"},`, 1)
			},
			func(c engine.Container) bool { return c.Health == "" },
		},
		"unhealthy": {
			func(s string) string {
				return strings.Replace(s, `"State":{`, `"State":{"Health":{"Status":"unhealthy"},`, 1)
			},
			func(c engine.Container) bool { return c.Health == "unhealthy" },
		},
		"without id":          {func(s string) string { return strings.Replace(s, `"c1"`, `""`, 1) }, nil},
		"without state":       {func(s string) string { return strings.Replace(s, `"State"`, `"Status"`, 1) }, nil},
		"without config":      {func(s string) string { return strings.Replace(s, `"Config"`, `"X"`, 1) }, nil},
		"without host config": {func(s string) string { return strings.Replace(s, `"HostConfig"`, `"X"`, 1) }, nil},
		"started at no time":  {func(s string) string { return strings.Replace(s, `2026`, `soon`, 1) }, nil},
		"nothing":             {func(string) string { return `null` }, nil},
		"cut off":             {func(s string) string { return s[:len(s)/2] }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := opened(t, answers{"GET /containers/c1/json": test.change(whole)}).Container(t.Context(), "c1")
			switch {
			case test.check == nil && err == nil:
				t.Errorf("no error, but %+v", c)
			case test.check != nil && err != nil:
				t.Error(err)
			case test.check != nil && !test.check(c):
				t.Errorf("read as %+v", c)
			}
		})
	}
}

func TestAContainerThatVanishesIsLeftOut(t *testing.T) {
	c := opened(t, answers{"GET /containers/json": `[{"Id":"gone"},{"Id":"c1"},{"Id":""}]`, "GET /containers/c1/json": whole})
	all, err := c.Containers(t.Context())
	if err != nil || len(all) != 1 || all[0].ID != "c1" {
		t.Errorf("listed %+v, %v", all, err)
	}
}

func TestAContainerThatCannotBeReadIsNotLeftOut(t *testing.T) {
	c := opened(t, answers{"GET /containers/json": `[{"Id":"c1"},{"Id":"c2"}]`, "GET /containers/c1/json": whole, "GET /containers/c2/json": `500 {"message":"oops"}`})
	if all, err := c.Containers(t.Context()); err == nil || !strings.Contains(err.Error(), `inspect container "c2"`) {
		t.Errorf("listed %+v, %v", all, err)
	}
}

// Engines 20.10 do not answer about a container while it is changed, which can last for ever.
func TestAContainerThatTheEngineDoesNotAnswerAboutHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := opened(t, answers{
			"GET /containers/json": `[{"Id":"c2","Names":["/stuck"],"Image":"db:1","ImageID":"sha256:2","Labels":{"a":"b"},"State":"running",` +
				`"Mounts":[{"Type":"volume","Name":"v","Source":"/s","Destination":"/d","RW":true}]},{"Id":"c1"},{"Id":"c3"}]`,
			"GET /containers/c1/json": whole, "GET /containers/c2/json": "hang", "GET /containers/c3/json": "hang",
		})
		begin := time.Now()
		all, err := c.Containers(t.Context())
		want := []engine.Container{
			{ID: "c2", Name: "stuck", Image: "db:1", ImageID: "sha256:2", Labels: map[string]string{"a": "b"}, State: engine.Running, Mute: true,
				Mounts: []engine.Mount{{Volume: "v", Source: "/s", Destination: "/d"}}},
			{ID: "c3", Name: "c3", Mute: true},
		}
		if err != nil || len(all) != 3 || all[1].Name != "web" || all[1].Mute {
			t.Fatalf("listed %+v, %v", all, err)
		}
		if diff := cmp.Diff(want, slices.Delete(all, 1, 2)); diff != "" {
			t.Error(diff)
		}
		if took := time.Since(begin); took != inspection {
			t.Errorf("it took %s, want %s", took, inspection)
		}
		ctx, cancel := context.WithTimeout(t.Context(), inspection/2)
		defer cancel()
		if all, err := c.Containers(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a caller who could not wait was given %+v, %v", all, err)
		}
	})
}

func TestVolumesThatAreNotListedAreToldOf(t *testing.T) {
	var log strings.Builder
	c := opened(t, answers{"GET /volumes": `{"Volumes":[null,{"Name":"b"},{"Name":"a"}],"Warnings":["driver nfs does not answer"]}`})
	c.log = slog.New(slog.NewTextHandler(&log, nil))
	volumes, err := c.Volumes(t.Context())
	if err != nil || len(volumes) != 2 || volumes[0].Name != "a" {
		t.Errorf("listed %+v, %v", volumes, err)
	}
	if !strings.Contains(log.String(), "driver nfs does not answer") {
		t.Errorf("logged %q", &log)
	}
}

func TestAVolumeThatSomebodyElseMadeMeanwhileIsAConflict(t *testing.T) {
	for name, answer := range map[string]string{
		"other labels":  `{"Name":"v","Driver":"local","Labels":{"a":"b"}}`,
		"other options": `{"Name":"v","Driver":"local","Options":{"type":"nfs"}}`,
		"other driver":  `{"Name":"v","Driver":"nfs"}`,
	} {
		_, err := opened(t, answers{"POST /volumes/create": answer}).CreateVolume(t.Context(), engine.Volume{Name: "v"})
		if !errors.Is(err, engine.ErrConflict) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAProxyThatRefusesIsNamed(t *testing.T) {
	c := opened(t, answers{"POST /containers/c1/pause": "403 Forbidden"})
	if err := c.Pause(t.Context(), "c1"); err == nil || !strings.Contains(err.Error(), "a proxy before the engine has to allow this call") {
		t.Error(err)
	}
}

func TestAnInternalErrorOfUnpauseStaysOneWhileItIsPaused(t *testing.T) {
	a := answers{"POST /containers/c1/unpause": `500 {"message":"oops"}`, "GET /containers/c1/json": strings.Replace(whole, `"running"`, `"paused"`, 1)}
	if err := opened(t, a).Unpause(t.Context(), "c1"); err == nil || errors.Is(err, engine.ErrConflict) {
		t.Errorf("unpause: %v", err)
	}
}

func TestAnEngineThatHangsIsLeft(t *testing.T) {
	for name, test := range map[string]struct {
		call  func(context.Context, *Client) error
		after time.Duration
	}{
		"list":  {func(ctx context.Context, c *Client) error { _, err := c.Containers(ctx); return err }, answerLimit},
		"pause": {func(ctx context.Context, c *Client) error { return c.Pause(ctx, "c1") }, answerLimit},
		"stop":  {func(ctx context.Context, c *Client) error { return c.Stop(ctx, "c1", time.Hour) }, time.Hour + answerLimit},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				err := test.call(t.Context(), opened(t, answers{"GET /containers/json": "hang", "POST /containers/c1/pause": "hang", "POST /containers/c1/stop": "hang"}))
				if !errors.Is(err, engine.ErrUnreachable) || time.Since(begin) != test.after {
					t.Errorf("%v after %s, want after %s", err, time.Since(begin), test.after)
				}
			})
		})
	}
}

func TestAStreamOfEventsEndsWithAnError(t *testing.T) {
	event := `{"Type":"volume","Action":"create","Actor":{"ID":"v"},"timeNano":1000000000}`
	for name, test := range map[string]struct {
		stream string
		events int
		class  error
	}{
		"cleanly":       {event + "\n" + event, 2, engine.ErrUnreachable},
		"in the middle": {event + event[:20], 1, engine.ErrUnreachable},
		"refused":       {"403 Forbidden", 0, nil},
		"with rubbish":  {event + "rubbish", 1, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var last error
			seen := 0
			for e, err := range opened(t, answers{"GET /events": test.stream}).Events(t.Context(), time.Time{}) {
				if last = err; err == nil {
					seen++
					if e.ID != "v" || !e.Time.Equal(time.Unix(1, 0)) {
						t.Errorf("event %+v", e)
					}
				}
			}
			if last == nil || seen != test.events || test.class != nil && !errors.Is(last, test.class) {
				t.Errorf("%d events, then %v", seen, last)
			}
		})
	}
}

func TestOpenSaysWhatWouldHelp(t *testing.T) {
	folder := t.TempDir()
	dead := filepath.Join(folder, "dead")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]string{
		"unix://" + filepath.Join(folder, "absent"): "there is no socket at",
		"unix://" + dead: "nothing listens on",
		"unix://" + filepath.Join(folder, "file"): "nothing listens on",
		"tcp://127.0.0.1:1":                       "cannot be reached",
		"ssh://host":                              "only unix:// and tcp://; forward its socket, with ssh",
		"nonsense":                                "nonsense",
	} {
		_, err := Open(t.Context(), Options{Host: host})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q in it", host, err, want)
		}
	}
}

func TestAnEngineThatIsTooOldIsRefused(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Api-Version", "1.39") })}
	served := make(chan error)
	go func() { served <- server.Serve(l) }()
	if _, err := Open(t.Context(), Options{Host: "unix://" + socket}); err == nil || !strings.Contains(err.Error(), "at least 1.40 is needed") {
		t.Error(err)
	}
	if err := server.Close(); err != nil {
		t.Error(err)
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}
