package s3

import (
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"pgregory.net/rapid"
)

func TestURLs(t *testing.T) {
	plain := location{bucket: "b", concurrency: 2, maxParts: 10_000, conditional: true, proof: byCRC}
	with := func(change func(*location)) location { l := plain; change(&l); return l }
	for text, want := range map[string]location{
		"s3://b":                            plain,
		"s3://b/":                           plain,
		"s3://b/p":                          with(func(l *location) { l.prefix = "p/" }),
		"s3://b//p/q/":                      with(func(l *location) { l.prefix = "p/q/" }),
		"s3://b/a%20b":                      with(func(l *location) { l.prefix = "a b/" }),
		"s3://b?region=eu-1":                with(func(l *location) { l.region = "eu-1" }),
		"s3://b?endpoint=http://[::1]:9000": with(func(l *location) { l.endpoint = "http://[::1]:9000" }),
		"s3://b?path-style=true":            with(func(l *location) { l.pathStyle = true }),
		"s3://b?conditional=false":          with(func(l *location) { l.conditional = false }),
		"s3://b?checksum=md5":               with(func(l *location) { l.proof = byMD5 }),
		"s3://b?part-size=16MiB":            with(func(l *location) { l.partSize = 16 << 20 }),
		"s3://b?max-parts=1000":             with(func(l *location) { l.maxParts = 1000 }),
		"s3://b?ca-file=/etc/ca.pem":        with(func(l *location) { l.caFile = "/etc/ca.pem" }),
		"s3://b?storage-class=STANDARD_IA":  with(func(l *location) { l.keeping.class = types.StorageClassStandardIa }),
		"s3://b?sse=AES256":                 with(func(l *location) { l.keeping.sse = types.ServerSideEncryptionAes256 }),
		"s3://b?sse=aws:kms&kms-key=arn:a:b": with(func(l *location) {
			l.keeping.sse, l.keeping.kmsKey = types.ServerSideEncryptionAwsKms, "arn:a:b"
		}),
		"s3://b?lock=governance&lock-days=30": with(func(l *location) { l.keeping.mode, l.keeping.days = types.ObjectLockModeGovernance, 30 }),
		"s3://b?lock-days=1&lock=compliance":  with(func(l *location) { l.keeping.mode, l.keeping.days = types.ObjectLockModeCompliance, 1 }),
		"s3://b?concurrency=8":                with(func(l *location) { l.concurrency = 8 }),
	} {
		if got, err := parse(mustURL(t, text)); err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", text, got, err, want)
		}
	}
}

func TestBadURLs(t *testing.T) {
	for text, want := range map[string]string{
		"https://b/p":                                      "s3://bucket/prefix",
		"s3:b":                                             "s3://bucket/prefix",
		"s3:///p":                                          "no name of a bucket",
		"s3://b:80/p":                                      "no name of a bucket",
		"s3://b/p/../q":                                    "key",
		"s3://b/p%00":                                      "key",
		"s3://b/p#fragment":                                "%23",
		"s3://AKIA:hunter2@b/p":                            "AWS_SECRET_ACCESS_KEY",
		"s3://b?regoin=eu-1":                               "did you mean region?",
		"s3://b?secret_key=hunter2":                        "there are ca-file, checksum, concurrency, conditional, endpoint, kms-key, lock, lock-days, max-parts, part-size, path-style, region, sse, storage-class",
		"s3://b?region=a&region=b":                         "more than once",
		"s3://b?endpoint=s3.example.com":                   "https://s3.example.com",
		"s3://b?endpoint=":                                 "https://s3.example.com",
		"s3://b?endpoint=https://u:hunter2@h/":             "credentials",
		"s3://b?path-style=yes":                            "neither true nor false",
		"s3://b?part-size=1MiB":                            "5MiB to 5GiB",
		"s3://b?part-size=big":                             "5MiB to 5GiB",
		"s3://b?checksum=sha1":                             "none of crc32c, md5 and none",
		"s3://b?max-parts=10001":                           "100 to 10000",
		"s3://b?ca-file=ca.pem":                            "not a path from the root on",
		"s3://b?ca-file=/nonexistent/ca.pem":               "parameter ca-file: open /nonexistent/ca.pem",
		"s3://b?ca-file=/dev/null":                         "no certificate in /dev/null",
		"s3://b?storage-class=DEEP_ARCHIVE":                "cannot be read for hours",
		"s3://b?storage-class=standard":                    "does not look like STANDARD_IA",
		"s3://b?storage-class=":                            "does not look like STANDARD_IA",
		"s3://b?sse=aes":                                   "neither AES256 nor aws:kms",
		"s3://b?sse=aws:kms&kms-key=":                      "empty",
		"s3://b?kms-key=k":                                 "kms-key goes with sse=aws:kms",
		"s3://b?sse=AES256&kms-key=k":                      "kms-key goes with sse=aws:kms",
		"s3://b?sse=aws:kms&checksum=md5":                  "proves nothing",
		"s3://b?lock=yes&lock-days=1":                      "neither governance nor compliance",
		"s3://b?lock=governance":                           "go together",
		"s3://b?lock-days=30":                              "go together",
		"s3://b?lock=governance&lock-days=0":               "from 1 to 36500",
		"s3://b?lock=governance&lock-days=1&checksum=none": "does not go with lock",
		"s3://b?concurrency=0":                             "1 to 16",
	} {
		_, err := Open(t.Context(), mustURL(t, text), Options{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want it to speak of %q", text, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: a secret is in the error: %v", text, err)
		}
	}
}

func mustURL(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestPartsReachFarInLittleMemory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := location{concurrency: rapid.IntRange(1, 16).Draw(t, "concurrency"), maxParts: rapid.IntRange(100, mostParts).Draw(t, "max-parts")}
		before, total := int64(0), int64(0)
		for number := 1; number <= l.maxParts; number++ {
			size := l.sizeOfPart(number, false)
			if size < before {
				t.Fatalf("part %d is smaller than the one before it", number)
			}
			if n := l.buffers(int(size)); n < 2 || int64(n)*size > budget {
				t.Fatalf("part %d: %d buffers of %d bytes", number, n, size)
			}
			before, total = size, total+size
		}
		if total < int64(l.maxParts)*28<<20 {
			t.Fatalf("the longest object is %d GiB", total>>30)
		}
	})
}

func TestPartsThatAreKeptReachAsFarAsS3Does(t *testing.T) {
	for text, want := range map[string]int64{ // GiB
		"s3://b":                               5 << 10,
		"s3://b?max-parts=1000":                4500,
		"s3://b?max-parts=1000&part-size=5GiB": 4800,
		"s3://b?max-parts=100":                 450,
	} {
		l, err := parse(mustURL(t, text))
		if err != nil {
			t.Fatal(err)
		}
		before, total := int64(0), int64(0)
		for number := 1; number <= l.maxParts; number++ {
			size := l.sizeOfPart(number, true)
			if size < before || size > 5<<30 {
				t.Fatalf("%s: part %d has %d bytes, after one of %d", text, number, size, before)
			}
			before, total = size, total+size
		}
		if total>>30 < want {
			t.Errorf("%s: the longest object is %d GiB, want %d", text, total>>30, want)
		}
	}
}
