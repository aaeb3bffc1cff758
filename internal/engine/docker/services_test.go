package docker

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/client"

	"github.com/backupd/backupd/internal/engine"
)

func TestAServiceIsReadFromAnyAnswer(t *testing.T) {
	const inspect = "GET /services/s1"
	for name, tt := range map[string]struct {
		spec string
		want engine.Service
	}{
		"replicated": {`"Mode":{"Replicated":{"Replicas":3}}`, engine.Service{Kind: engine.Replicated, Replicas: 3, StopTimeout: 10 * time.Second}},
		"with its own time to end": {`"TaskTemplate":{"ContainerSpec":{"StopGracePeriod":90000000000}},"Mode":{"Replicated":{"Replicas":1}}`,
			engine.Service{Kind: engine.Replicated, Replicas: 1, StopTimeout: 90 * time.Second}},
		"global":         {`"Mode":{"Global":{}}`, engine.Service{Kind: engine.Global, StopTimeout: 10 * time.Second}},
		"replicated job": {`"Mode":{"ReplicatedJob":{"TotalCompletions":2}}`, engine.Service{Kind: engine.ReplicatedJob, StopTimeout: 10 * time.Second}},
		"global job":     {`"Mode":{"GlobalJob":{}}`, engine.Service{Kind: engine.GlobalJob, StopTimeout: 10 * time.Second}},
		"of no kind":     {`"Mode":{}`, engine.Service{StopTimeout: 10 * time.Second}},
		"without count":  {`"Mode":{"Replicated":{}}`, engine.Service{StopTimeout: 10 * time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			tt.want.ID, tt.want.Name = "s1", "db"
			got, err := opened(t, answers{inspect: `{"ID":"s1","Spec":{"Name":"db",` + tt.spec + `}}`}).Service(t.Context(), "s1")
			if err != nil || got != tt.want {
				t.Errorf("%+v, %v, want %+v", got, err, tt.want)
			}
		})
	}
}

// The words are those of Docker 20.10.
func TestAWorkerIsNoManager(t *testing.T) {
	c := opened(t, answers{"GET /services/s1": `503 {"message":"This node is not a swarm manager. Worker nodes can't be used to view or modify cluster state."}`})
	_, err := c.Service(t.Context(), "s1")
	if !errors.Is(err, engine.ErrNoManager) || !strings.Contains(err.Error(), "Worker nodes can't") {
		t.Errorf("inspect: %v", err)
	}
	if err := c.Scale(t.Context(), "s1", 1, 0); !errors.Is(err, engine.ErrNoManager) {
		t.Errorf("scale: %v", err)
	}
}

// busy is an engine whose service is updated by somebody else as often as it says, each time between a look and an update.
type busy struct {
	others  int
	updates []string
}

func (b *busy) RoundTrip(r *http.Request) (*http.Response, error) {
	status, answer := http.StatusOK, `{"ID":"s1","Version":{"Index":7},"Spec":{"Name":"db","Mode":{"Replicated":{"Replicas":2}}}}`
	if r.Method == http.MethodPost {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		b.updates = append(b.updates, r.URL.Query().Get("version")+" "+string(body))
		answer = `{}`
		if len(b.updates) <= b.others {
			status, answer = http.StatusInternalServerError, `{"message":"rpc error: code = Unknown desc = update out of sequence"}`
		}
	}
	return &http.Response{
		StatusCode: status, Request: r, Body: io.NopCloser(strings.NewReader(answer)), Header: http.Header{"Content-Type": {"application/json"}},
	}, nil
}

func TestAnUpdateOutOfSequenceIsTriedAgain(t *testing.T) {
	for others, updates := range map[int]int{0: 1, 2: 3, 1000: 5} {
		b := &busy{others: others}
		api, err := client.NewClientWithOpts(client.WithHTTPClient(&http.Client{Transport: b}), client.WithVersion("1.41"))
		if err != nil {
			t.Fatal(err)
		}
		err = (&Client{api: api}).Scale(t.Context(), "s1", 2, 0)
		if failed := err != nil; failed != (others > updates) || len(b.updates) != updates {
			t.Errorf("with %d updates by others: %v, after %d updates", others, err, len(b.updates))
		}
		for _, u := range b.updates {
			if !strings.HasPrefix(u, "7 ") || !strings.Contains(u, `"Replicas":0`) {
				t.Errorf("updated with %s", u)
			}
		}
	}
}
