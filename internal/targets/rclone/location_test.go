package rclone

import (
	"net/url"
	"strings"
	"testing"
)

func TestURLs(t *testing.T) {
	for text, want := range map[string]string{ // what the object a/b is called
		"rclone:nas:":               "nas:a/b",
		"rclone:nas:backups":        "nas:backups/a/b",
		"rclone:nas:backups/":       "nas:backups/a/b",
		"rclone:nas:/":              "nas:/a/b",
		"rclone:nas:/mnt/nas":       "nas:/mnt/nas/a/b",
		"rclone:my%20nas:x%2Cy%3Fz": "my nas:x,y?z/a/b",
		"rclone:drive.v2+x:x:y":     "drive.v2+x:x:y/a/b",
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if l, err := parse(u); err != nil || l.of("a/b") != want {
			t.Errorf("%s: a/b is %q, %v, want %q", text, l.of("a/b"), err, want)
		}
	}
}

func TestBadURLs(t *testing.T) {
	for text, want := range map[string]string{
		"rclone:nas":                         "rclone:remote:path",
		"rclone://nas/hunter2":               "rclone:remote:path",
		"s3://nas":                           "rclone:remote:path",
		"rclone::x":                          "listremotes",
		"rclone::http,url=http%3A//hunter2:": "listremotes",
		"rclone:nas%2Cpass=hunter2:x":        "listremotes",
		"rclone:--config=hunter2:x":          "listremotes",
		"rclone:nas:x?pass=hunter2":          "rclone's configuration",
		"rclone:nas:x#hunter2":               "rclone's configuration",
		"rclone:nas:a/../hunter2":            "its path is none",
		"rclone:nas:a%00hunter2":             "its path is none",
		"rclone:nas:a%hunter2":               "write % as %25",
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Open(u)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want it to speak of %q", text, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: what may be a secret is in the error: %v", text, err)
		}
	}
}

func TestRclonesOwnWords(t *testing.T) {
	for said, want := range map[string]string{
		"": "",
		"2026/11/25 08:47:18 NOTICE: Config file \"/x\" not found - using defaults\n2026/11/25 08:47:18 Failed to create file system for \"nas:x\": it is odd\n": `Failed to create file system for "nas:x": it is odd`,
		"2026/11/25 08:44:52 ERROR : : error listing: denied\n2026/11/25 08:44:52 Failed to lsjson with 2 errors: last error was: error in ListJSON: denied\n":   "denied",
		"2026/11/25 08:44:52 CRITICAL: Failed to cat: RequestError: send\ncaused by: \x1b[1mno route\n":                                                          "RequestError: send caused by: [1mno route",
		"2026/11/25 08:44:52 Failed to cat: Get \"https://me:hunter2@host/a?key=hunter2&b=c\": refused":                                                          `Get "https://...@host/a?...": refused`,
		"panic: without a time":   "panic: without a time",
		strings.Repeat("ä", kept): strings.Repeat("ä", repeated/2) + "...",
	} {
		var t2 tail
		for half := range strings.SplitAfterSeq(said, ":") {
			if _, err := t2.Write([]byte(half)); err != nil {
				t.Fatal(err)
			}
		}
		if got := t2.words(); got != want {
			t.Errorf("of %.80q it repeats\n%q, want\n%q", said, got, want)
		}
	}
}
