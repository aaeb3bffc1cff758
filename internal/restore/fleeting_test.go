package restore_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backupd/backupd/internal/engine"
)

// What is restored into memory is there only as long as something runs that uses it.
func TestAVolumeInMemory(t *testing.T) {
	w := newWorld(t)
	v := w.eng.AddVolume(engine.Volume{Name: "app", Options: map[string]string{"type": "tmpfs", "device": "tmpfs"}})
	if _, err := w.runner.ToVolume(t.Context(), w.request, "app", nil); err == nil || !strings.Contains(err.Error(), "would be empty again") {
		t.Errorf("to volume: %v", err)
	}
	if _, err := w.inPlace(t, v); err == nil || !strings.Contains(err.Error(), "start what uses it first") {
		t.Errorf("in place, with nothing running: %v", err)
	}
	if !lookEmpty(t, v.Mountpoint) {
		t.Error("something was written")
	}
	w.container("app", engine.Container{Name: "db", StopTimeout: time.Second}, false)
	_, err := w.inPlace(t, v)
	must(t, err)
	if diff := cmp.Diff(look(t, w.source), look(t, v.Mountpoint)); diff != "" {
		t.Errorf("content (-want +got):\n%s", diff)
	}
}
