package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestReadAcks(t *testing.T) {
	const one, two = `{"number":1,"at":"2026-11-23T12:00:00Z"}` + "\n", `{"number":2,"at":"2026-11-23T12:00:01.5Z"}` + "\n"
	for name, c := range map[string]struct {
		file  string
		want  int
		wrong string
	}{
		"none":                       {},
		"two":                        {file: one + two, want: 2},
		"killed while writing":       {file: one + strings.TrimSuffix(two, "\n"), want: 1},
		"killed in the middle of it": {file: one + `{"num`, want: 1},
		"not an acknowledgement":     {file: one + "hello\n", wrong: "acknowledgement 2"},
		"a number twice":             {file: one + one, wrong: "has the clock been set?"},
		"the clock set back": {
			file:  `{"number":1,"at":"2026-11-23T12:00:01Z"}` + "\n" + `{"number":2,"at":"2026-11-23T12:00:00Z"}` + "\n",
			wrong: "has the clock been set?",
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "acks")
			if err := os.WriteFile(path, []byte(c.file), 0o600); err != nil {
				t.Fatal(err)
			}
			acks, err := readAcks(path)
			if len(acks) != c.want {
				t.Errorf("%d acknowledgements, want %d", len(acks), c.want)
			}
			if c.wrong == "" && err != nil || c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)) {
				t.Errorf("error %v, want %q", err, c.wrong)
			}
		})
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "acks")
	log, err := openAcks(path)
	if err != nil {
		t.Fatal(err)
	}
	want := ack{Transfer: Transfer{Number: 3, From: 1, To: 2, Amount: 50}, At: noon.Add(123456789)}
	if err := log.write(want); err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := readAcks(path)
	if err != nil || len(got) != 1 || got[0] != want {
		t.Errorf("read %v and %v, want %v", got, err, want)
	}
}

func TestLongestPause(t *testing.T) {
	at := func(seconds int) ack { return ack{At: noon.Add(time.Duration(seconds) * time.Second)} }
	for want, acks := range map[time.Duration][]ack{
		0:               {at(0)},
		7 * time.Second: {at(0), at(1), at(8), at(9)},
	} {
		if got := longestPause(acks); got != want {
			t.Errorf("longest pause is %v, want %v", got, want)
		}
	}
}
