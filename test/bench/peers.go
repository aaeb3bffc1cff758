package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// peer is one way to back up a folder and to have it back. Its commands are a shell's. They read $SRC and write to $REPO; write what is in
// $REPO to $DST; and write the one file $FILE of it to $DST. A command that is not there is not compared.
type peer struct {
	name      string
	needs     []string // programs, or variables of the environment as $NAME
	backup    string
	restore   string
	one       string
	elsewhere bool // the work is done by a process that is not its child, so that only the wall clock counts
}

func (p peer) command(task string) string {
	return map[string]string{"backup": p.backup, "cold": p.backup, "restore": p.restore, "one": p.one}[task]
}

// id is the name, fit for a folder.
func (p peer) id() string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, p.name)
}

// backupd backs up a folder as a volume of the dir source, so that only the reading, compressing and storing is compared. Holding
// containers still comes on top: see the tests on a real engine.
func backupd(name, target string) peer {
	env := fmt.Sprintf("export BACKUPD_SOURCE=dir BACKUPD_VOLUMES_DIR=$DATA BACKUPD_HOST=bench BACKUPD_STATE_DIR=$REPO/state BACKUPD_TARGETS=%s; ", target)
	return peer{
		name:    name,
		backup:  env + `bin/backupd backup "$SET"`,
		restore: env + `bin/backupd restore "$SET" --to-dir $DST/it`,
		one:     env + `bin/backupd cat 2 $FILE >$DST/it`, // the only snapshot's id begins so, as does the century
	}
}

// encrypted is the same with archives that are encrypted, and read with the key to them.
func encrypted(name string, p peer) peer {
	key := `[ -e $WORK/age.key ] || age-keygen -o $WORK/age.key 2>/dev/null
		export BACKUPD_AGE_RECIPIENTS=$(age-keygen -y $WORK/age.key) BACKUPD_AGE_IDENTITY=$WORK/age.key; `
	p.name, p.needs = name, append(p.needs, "age-keygen")
	p.backup, p.restore, p.one = key+p.backup, key+p.restore, key+p.one
	return p
}

// peers gives all, the one that the others are compared with first.
func peers() []peer {
	const (
		container = "export DOCKER_HOST=$TEST_DOCKER_HOST; docker run --rm --network none "
		resticEnv = "export RESTIC_PASSWORD=bench RESTIC_CACHE_DIR=$REPO/cache; "
		borgEnv   = "export BORG_BASE_DIR=$REPO/base BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes; "
		kopiaEnv  = `export KOPIA_PASSWORD=bench KOPIA_CONFIG_PATH=$REPO/config KOPIA_CACHE_DIRECTORY=$REPO/cache KOPIA_CHECK_FOR_UPDATES=false
			latest() { kopia snapshot list --json | grep -o '"obj":"[^"]*"' | tail -n 1 | cut -d'"' -f4; }
			`
	)
	return []peer{
		backupd("backupd, local disk", "local=file://$REPO"),
		encrypted("backupd, local disk, encrypted", backupd("", "local=file://$REPO")),
		{
			name: "tar | zstd -3 -T0", needs: []string{"zstd"},
			backup:  `tar cf - -C $SRC . | zstd -q -3 -T0 >$REPO/b.tar.zst`,
			restore: `tar --zstd -xf $REPO/b.tar.zst -C $DST`,
			one:     `tar --zstd -xf $REPO/b.tar.zst -C $DST --occurrence=1 ./$FILE`,
		},
		{
			name: "tar | zstd -1 -T0", needs: []string{"zstd"},
			backup: `tar cf - -C $SRC . | zstd -q -1 -T0 >$REPO/b.tar.zst`,
		},
		{
			name: "tar czf in a container", needs: []string{"docker", "busybox", "$TEST_DOCKER_HOST"}, elsewhere: true,
			backup: `export DOCKER_HOST=$TEST_DOCKER_HOST
				docker image inspect backupd-bench >/dev/null 2>&1 || {
					mkdir -p $WORK/image/bin && cp "$(command -v busybox)" $WORK/image/bin/tar && ln -s tar $WORK/image/bin/gzip
					tar c -C $WORK/image . | docker import - backupd-bench
				}
				` + container + `-v $SRC:/source:ro -v $REPO:/backup backupd-bench /bin/tar czf /backup/b.tgz -C /source .`,
			restore: container + `-v $REPO:/backup:ro -v $DST:/dst backupd-bench /bin/tar xzf /backup/b.tgz -C /dst`,
		},
		{
			name: "restic", needs: []string{"restic"},
			backup:  resticEnv + `restic init -q -r $REPO/r; cd $SRC && restic -q -r $REPO/r backup .`,
			restore: resticEnv + `restic -q -r $REPO/r restore latest --target $DST`,
			one:     resticEnv + `restic -q -r $REPO/r restore latest --target $DST --include /$FILE`,
		},
		{
			name: "kopia", needs: []string{"kopia"},
			backup: kopiaEnv + `mkdir $REPO/r && kopia repository create filesystem --path $REPO/r &&
				kopia policy set --global --compression=zstd-fastest && kopia snapshot create --no-progress $SRC`,
			restore: kopiaEnv + `kopia restore --no-progress $(latest) $DST`,
			one:     kopiaEnv + `kopia restore --no-progress $(latest)/$FILE $DST/it`,
		},
		{
			name: "borg", needs: []string{"borg"},
			backup:  borgEnv + `borg init -e none $REPO/r && cd $SRC && borg create -C zstd,3 $REPO/r::a .`,
			restore: borgEnv + `cd $DST && borg extract $REPO/r::a`,
			one:     borgEnv + `cd $DST && borg extract $REPO/r::a $FILE`,
		},
		{
			name: "docker-volume-backup", needs: []string{"docker-volume-backup"},
			backup: `env -u DOCKER_HOST BACKUP_SOURCES=$SRC BACKUP_ARCHIVE=$REPO BACKUP_FILENAME=b.tar.zst BACKUP_COMPRESSION=zst docker-volume-backup`,
		},
	}
}

// installed leaves out those that lack something, with a word.
func installed(all []peer) (there []peer) {
	for _, p := range all {
		if missing := p.missing(); missing != "" {
			fmt.Fprintf(os.Stderr, "bench: left out: %s (%s)\n", p.name, missing)
			continue
		}
		there = append(there, p)
	}
	return there
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
