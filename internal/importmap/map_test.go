// Package importmap holds the map of what may import what, and the test that keeps the code to it. It has no code of its own.
package importmap

// layers is the map: rows from the top to the bottom, and in each row its packages with all that they import of ours. An import
// goes down, to any row below; one within the row is marked with "=".
// Names are those of folders, without "internal/". Only the program's own code counts, not its tests.
//
// A line that changes here is a decision about the shape of the program. Packages for tests stand on top, so that nothing of the
// program can import them.
const layers = `
test
	engine/enginetest       engine =faulttest
	examples/demo/bank
	faulttest
	importmap
	targets/memory          targets =faulttest
	targets/s3/s3test       =testenv
	targets/sftp/sftptest   =testenv
	targets/webdav/webdavtest =testenv
	targets/targetstest     targets
	systemd
	test/bench
	test/e2e
	test/faults
	test/systemd
	test/tally
	test/torture
	testenv

wire
	cmd/backupd             access archive audit backup bases catalog config daemon discovery doctor drill durable engine engine/dir engine/docker folder gaps guard history ledger mount plan project quiesce remote restore retention seal snapshot spelling sqlite targets targets/local targets/rclone targets/s3 targets/sftp targets/webdav verify

run
	daemon                  backup engine gaps ledger plan schedule snapshot verify
	doctor                  catalog engine ledger plan retention schedule seal snapshot targets
	drill                   =restore archive catalog durable engine recognise snapshot
	restore                 access archive catalog durable engine folder quiesce seal snapshot
	mount                   archive seal snapshot

flow
	audit                   catalog retention snapshot
	backup                  access archive bases catalog durable engine folder plan quiesce recognise retention seal snapshot spool suspicion
	discovery               engine ledger plan
	gaps                    =backup catalog plan snapshot
	verify                  =backup archive catalog seal snapshot

plan
	config                  =plan archive quiesce retention schedule seal snapshot spelling
	plan                    archive engine quiesce retention schedule snapshot spelling

part
	access                  =folder =remote archive durable engine
	bases                   archive durable snapshot
	catalog                 archive durable seal snapshot targets
	engine/dir              engine
	engine/docker           engine
	folder                  archive durable recognise
	ledger                  durable snapshot
	history                 archive
	guard                   =quiesce snapshot
	project                 engine snapshot
	quiesce                 durable engine snapshot
	remote                  =folder archive
	retention               snapshot targets
	spool                   targets
	suspicion               recognise snapshot
	targets/local           durable targets
	targets/rclone          targets
	targets/s3              targets
	targets/sftp            targets
	targets/webdav          targets

leaf
	archive
	durable
	engine
	recognise
	schedule
	seal
	snapshot                =recognise
	spelling
	sqlite
	targets                 =spelling
`

// doors says which packages may import a thing from outside: each has one door, so that the rest of the program does not depend on
// its types, its errors and its fashions. Tests have their own.
var doors = map[string][]string{
	"filippo.io/age":                       {"seal"},
	"github.com/aws/":                      {"targets/s3"},
	"github.com/docker/docker/":            {"engine/docker", "testenv"},
	"github.com/docker/go-connections/":    {"engine/docker"},
	"github.com/google/renameio/":          {"durable"},
	"github.com/hanwen/go-fuse/":           {"mount"},
	"github.com/kelseyhightower/envconfig": {"config"},
	"github.com/klauspost/compress/":       {"archive"},
	"github.com/lmittmann/tint":            {"cmd/backupd"},
	"github.com/pkg/sftp":                  {"targets/sftp"},
	"github.com/robfig/cron/":              {"schedule"},
	"github.com/spf13/cobra":               {"cmd/backupd"},
	"github.com/vbauerster/mpb/":           {"cmd/backupd"},
	"golang.org/x/crypto/ssh":              {"seal", "targets/sftp"},
	"modernc.org/sqlite":                   {"examples/demo/bank", "sqlite"},
}

// embedded is what cmd/backupd imports for what it brings along: an image from scratch and a bare machine have neither.
var embedded = []string{
	"time/tzdata",
	"golang.org/x/crypto/x509roots/fallback", // used where the machine has no CA roots
}
