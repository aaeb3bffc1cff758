package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// peer is one way to back up a folder. Its command is a shell's; it reads $SRC and writes below $OUT.
type peer struct {
	name      string
	needs     []string // programs, or variables of the environment as $NAME
	command   string
	elsewhere bool // the work is done by a process that is not its child, so that only the wall clock counts
}

// backupd backs up a folder as a volume of the dir source, so that only the reading, compressing and storing is compared. Holding
// containers still comes on top: see the tests on a real engine.
const backupd = `BACKUPD_SOURCE=dir BACKUPD_VOLUMES_DIR=$DATA BACKUPD_HOST=bench BACKUPD_STATE_DIR=$WORK/state BACKUPD_TARGETS=%s bin/backupd backup "$SET"`

// peers gives all, the one that the others are compared with first.
func peers() []peer {
	return []peer{
		{name: "backupd, local disk", command: fmt.Sprintf(backupd, "local=file://$OUT")},
		{name: "tar | zstd -3 -T0", needs: []string{"zstd"}, command: `tar cf - -C $SRC . | zstd -q -3 -T0 >$OUT/b.tar.zst`},
		{name: "tar | zstd -1 -T0", needs: []string{"zstd"}, command: `tar cf - -C $SRC . | zstd -q -1 -T0 >$OUT/b.tar.zst`},
		{
			name: "tar czf in a container", needs: []string{"docker", "busybox", "$TEST_DOCKER_HOST"}, elsewhere: true,
			command: `export DOCKER_HOST=$TEST_DOCKER_HOST
				docker image inspect backupd-bench >/dev/null 2>&1 || {
					mkdir -p $WORK/image/bin && cp "$(command -v busybox)" $WORK/image/bin/tar && ln -s tar $WORK/image/bin/gzip
					tar c -C $WORK/image . | docker import - backupd-bench
				}
				docker run --rm --network none -v $SRC:/source:ro -v $OUT:/backup backupd-bench /bin/tar czf /backup/b.tgz -C /source .`,
		},
		{
			name: "restic", needs: []string{"restic"},
			command: `export RESTIC_PASSWORD=bench RESTIC_CACHE_DIR=$WORK/restic; restic init -q -r $OUT/r; cd $SRC && restic -q -r $OUT/r backup .`,
		},
		{
			name: "kopia", needs: []string{"kopia"},
			command: `export KOPIA_PASSWORD=bench KOPIA_CONFIG_PATH=$WORK/kopia/config KOPIA_CACHE_DIRECTORY=$WORK/kopia/cache KOPIA_CHECK_FOR_UPDATES=false
				mkdir -p $OUT/r && kopia repository create filesystem --path $OUT/r && kopia policy set --global --compression=zstd-fastest && kopia snapshot create --no-progress $SRC`,
		},
		{
			name: "borg", needs: []string{"borg"},
			command: `export BORG_BASE_DIR=$WORK/borg; rm -rf $WORK/borg; borg init -e none $OUT/r && cd $SRC && borg create -C zstd,3 $OUT/r::a .`,
		},
	}
}

// missing names what the peer needs and this machine has not; "" is nothing.
func (p peer) missing() string {
	var missing []string
	for _, need := range p.needs {
		if variable, ok := strings.CutPrefix(need, "$"); ok {
			if os.Getenv(variable) == "" {
				missing = append(missing, need)
			}
		} else if _, err := exec.LookPath(need); err != nil {
			missing = append(missing, need)
		}
	}
	return strings.Join(missing, ", ")
}
