package config

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestBadTargets(t *testing.T) {
	const name = "it has no name of lower-case letters, digits and hyphens: " + howToWrite
	tests := map[string]struct{ text, want string }{
		"only a URL":              {"s3://bucket", "target 1 of the list: " + name},
		"only a name":             {"local", "target 1 of the list: " + name},
		"name in capitals":        {"NAS=file:///x", "target 1 of the list: " + name},
		"a comma at the end":      {"a=file:///x,", "target 2 of the list: " + name},
		"a comma in a URL":        {"a=file:///x,y", "target 2 of the list: " + name},
		"a name twice":            {"a=file:///x,a=file:///y", "target 2 of the list: there is another one named a: give each a name of its own"},
		"a place twice":           {"a=file:///x,b=file:///x/./", "targets a and b are the same place: leave out one of them"},
		"a bucket twice":          {"a=s3://b/p?region=x,b=s3://b/p/", "targets a and b are the same place: leave out one of them"},
		"no URL":                  {"a=/var/backups", "target 1 of the list: a: it is not a URL: " + howToWrite},
		"unknown scheme":          {"a=http://host/x", "target 1 of the list: a: the URL's scheme is none of file, rclone, s3, sftp, webdav, webdavs"},
		"file with two slashes":   {"a=file://var/backups", "target 1 of the list: a: the URL's path must begin with a third slash: file:///folder"},
		"file with one word":      {"a=file:backups", "target 1 of the list: a: the URL names no folder: write file:///folder"},
		"file of the root":        {"a=file:///", "target 1 of the list: a: the URL names no folder: write file:///folder"},
		"file of the root, long":  {"a=file:///x/..", "target 1 of the list: a: the URL names no folder: write file:///folder"},
		"file with options":       {"a=file:///x?y=z", "target 1 of the list: a: a file URL takes no options: leave out the question mark and what follows it, or write the mark as %3F"},
		"a fragment":              {"a=file:///x#y", "target 1 of the list: a: the URL has a # in it: write it as %23"},
		"no bucket":               {"a=s3:///x", "target 1 of the list: a: the URL names no bucket: write s3://bucket or s3://bucket/prefix; the server's address goes into ?endpoint="},
		"a server for the bucket": {"a=s3://minio:9000/x", "target 1 of the list: a: the URL names no bucket: write s3://bucket or s3://bucket/prefix; the server's address goes into ?endpoint="},
		"no remote":               {"a=rclone:nas", "target 1 of the list: a: the URL names no remote: write rclone:remote:path, with a remote that `rclone listremotes` shows"},
		"a remote for a host":     {"a=rclone://nas/x", "target 1 of the list: a: the URL names no remote: write rclone:remote:path, with a remote that `rclone listremotes` shows"},
		"rclone with options":     {"a=rclone:nas:x?y=z", "target 1 of the list: a: an rclone URL takes no options: they belong into rclone's configuration; write a question mark in a path as %3F"},
		"a remote twice":          {"a=rclone:nas:x,b=rclone:nas:x/", "targets a and b are the same place: leave out one of them"},
		"sftp without a user":     {"a=sftp://nas/x", "target 1 of the list: a: the URL names no user, host or folder: write sftp://user@host/folder, or /~/folder for one below where the server puts the user"},
		"sftp without a folder":   {"a=sftp://me@nas", "target 1 of the list: a: the URL names no user, host or folder: write sftp://user@host/folder, or /~/folder for one below where the server puts the user"},
		"a server twice":          {"a=sftp://me@nas/x,b=sftp://you@nas/x/?identity=/k", "targets a and b are the same place: leave out one of them"},
		"two of them":             {"a=ftp://x,b", "target 1 of the list: a: the URL's scheme is none of file, rclone, s3, sftp, webdav, webdavs\ntarget 2 of the list: " + name},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var got Targets
			if err := got.UnmarshalText([]byte(tt.text)); errorText(err) != tt.want || got != nil {
				t.Errorf("error is\n%v\nwant\n%s", err, tt.want)
			}
		})
	}
}

func TestSecretsInTargetsAreRefusedAndNotRepeated(t *testing.T) {
	tests := map[string]string{
		"user and password":            "a=s3://AKIA:hunter2@bucket",
		"a slash in the password":      "a=s3://AKIA:hun/hunter2@bucket",
		"a percent sign in it":         "a=s3://AKIA:%hunter2@bucket",
		"without a name":               "s3://AKIA:hunter2@bucket?endpoint=https://x",
		"in the endpoint":              "a=s3://bucket?endpoint=https://AKIA:hunter2@host",
		"in the endpoint, and a slash": "a=s3://bucket?endpoint=https://AKIA:/hunter2@host",
		"with a comma in it":           "a=s3://AKIA:x,hunter2@bucket",
		"in a file's URL":              "a=file://AKIA:hunter2@host/x",
		"in a query that is broken":    "a=s3://bucket?endpoint=%hunter2",
		"alone":                        "hunter2",
		"with a slash before it":       "a=s3://AKIA:/hunter2@bucket",
		"as a folder":                  "a=s3://AKIA/hunter2@bucket",
		"in a connection string":       "a=rclone:nas,pass=hunter2:x",
		"of sftp":                      "a=sftp://me:hunter2@nas/x",
		"of sftp, with an @":           "a=sftp://me:x@hunter2@nas/x",
		"in the name of sftp's user":   "a=sftp://me@hunter2@nas/x",
		"in the folder of sftp":        "a=sftp://me/hunter2@nas/x",
		"of webdav":                    "a=webdavs://me:hunter2@nas/x",
		"in rclone's options":          "a=rclone:nas:x?pass=hunter2",
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Load([]string{"BACKUPD_TARGETS=" + text}, files{}.read)
			if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.HasPrefix(err.Error(), "BACKUPD_TARGETS: ") {
				t.Errorf("error is %v, want one about BACKUPD_TARGETS that does not repeat the password", err)
			}
		})
	}
}

func TestTargetsThatAreReadHaveNoSecretPart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`a=(s3://|file://|rclone:|sftp://|webdavs://)[a-z:@/%]{0,12}(\?endpoint=[a-z:@/%]{0,12})?(,b=s3://[a-z@:]{0,5})?`).Draw(t, "text")
		var got Targets
		if got.UnmarshalText([]byte(text)) != nil {
			return
		}
		for _, target := range got {
			u := target.URL
			if _, password := u.User.Password(); password || u.User != nil && u.Scheme != "sftp" && u.Scheme != "webdavs" || strings.Contains(u.User.Username(), "@") {
				t.Errorf("%q gave %q", text, u)
			}
			if u.Host == "" && !strings.HasPrefix(u.Path, "/") && u.Scheme != "rclone" {
				t.Errorf("%q gave %q", text, target.URL)
			}
		}
	})
}

func TestFoldersMayHaveAnyName(t *testing.T) {
	for text, want := range map[string]string{"a=file:///mnt/@backups": "/mnt/@backups", "a=file:///a%20b%2Cc%23": "/a b,c#", "a=s3://b/x%40y": "/x@y"} {
		var got Targets
		if err := got.UnmarshalText([]byte(text)); err != nil || got[0].URL.Path != want {
			t.Errorf("%q gave %v (%v), want the path %q", text, got, err, want)
		}
	}
}

func TestBytes(t *testing.T) {
	tests := map[string]Bytes{
		"1": 1, "512": 512, "512K": 512_000, "512KiB": 512 << 10, "100MiB": 100 << 20, "1GB": 1e9, "1.5 GB": 15e8, "7EiB": 7 << 60, "10 mib": 10 << 20,
		"1,5GB": 0, "-1": 0, "1e3": 0, "0": 0, "0.1": 0, "9EiB": 0, "MiB": 0, "1 parsec": 0, "∞": 0, "١": 0,
	}
	for text, want := range tests {
		var got Bytes
		if err := got.UnmarshalText([]byte(text)); got != want || (err == nil) != (want > 0) {
			t.Errorf("%q is %d (%v), want %d", text, got, err, want)
		}
	}
}
