package quiesce

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/backupd/backupd/internal/engine"
)

// Whatever a journal says: what it names to be let go was paused or stopped, and has an id that is one.
func FuzzJournal(f *testing.F) {
	first, err := json.Marshal(line{Format: journalFormat, Engine: "engine"})
	if err != nil {
		f.Fatal(err)
	}
	step, err := json.Marshal(line{Step: &Step{Container: engine.Container{ID: "0a1b", Name: "db", StopTimeout: time.Second}, How: Stop}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(bytes.Join([][]byte{first, step, []byte(`{"settled":{"container":"0a1b","ours":true}}`), []byte(`{"started":{"container":"0a1b"}}`), []byte(`{"hooks":{"ID":"0a1b","Name":"db"}}`)}, []byte("\n")))
	k := New(nil, Options{Engine: "engine", Now: time.Now})
	f.Fuzz(func(t *testing.T, text []byte) {
		left, err := k.read(bytes.Split(text, []byte("\n")))
		if err != nil && len(left.ids()) > 0 {
			t.Fatalf("%d containers are to be let go in spite of %v", len(left.ids()), err)
		}
		for _, c := range left.hooked {
			if checkContainer(c.Container) != nil || !c.Hooks.None() {
				t.Fatalf("hooks to be run: %+v", c)
			}
		}
		for _, held := range left.held {
			if held.Step.check() != nil || held.pending.After(time.Now().Add(25*time.Hour)) {
				t.Fatalf("to be let go: %+v", held.Step)
			}
		}
	})
}
