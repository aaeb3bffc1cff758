#!/usr/bin/env bash
# The main job of backupd, done for real: `make demo` runs this under test/means.sh, which gives it a private container engine.
#
# A small bank (examples/demo/bank) moves money in an SQLite database on a Docker volume, and notes outside that volume what it
# has told its customers. backupd backs the volume up every five seconds. Then volume and container are destroyed, the volume is
# restored, and the bank's books are checked against the notes. Nothing is left behind, also after Ctrl-C.
set -euo pipefail

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/backupd-demo.XXXXXX")
mkdir "$work"/{acks,backups,image,state,volumes}
image=backupd-demo-bank
daemon=
teller= # the bank's process, where it is not a container

bold='' dim='' plain=''
if [ -t 1 ]; then bold=$'\033[1m' dim=$'\033[2m' plain=$'\033[0m'; fi

say() { printf '%s\n' "$*"; }
step() { printf '\n%s== %s%s\n' "$bold" "$*" "$plain"; }
show() { # runs a command as somebody would type it
	local word
	printf '%s$' "$dim"
	for word in "$@"; do
		[[ $word =~ ^[[:alnum:]_./:=@,-]+$ ]] && printf ' %s' "$word" || printf " '%s'" "$word"
	done
	printf '%s\n' "$plain"
	"$@"
}
fail() {
	say "demo: $*" >&2
	[ ! -s "$work/daemon.log" ] || { say "the end of the daemon's log:"; tail -n 20 "$work/daemon.log"; } >&2
	exit 1
}

clean() {
	set +e # whatever of it fails, the rest is still to be done
	if [ -n "$teller" ]; then kill -KILL "$teller"; wait "$teller"; fi 2>/dev/null
	if [ -n "$daemon" ]; then kill -TERM "$daemon"; wait "$daemon"; fi 2>/dev/null
	[ "$mode" = folder ] || {
		docker rm --force bank
		docker volume rm --force bank
		docker image rm --force $image
	} >/dev/null 2>&1
	rm -rf "$work"
}

# --- with an engine: the bank is a container --------------------------------------------------------------------------------

engine_open() {
	show docker volume create --label backupd.enable=true --label 'backupd.schedule=*/5 * * * * *' \
		--label backupd.retention=last=3 bank
	# An image of one file, so that no registry is needed.
	tar -C "$work/image" -c bank | docker import --change 'ENTRYPOINT ["/bank"]' - $image >/dev/null
	engine_bank --rm "$image" init /data/bank.db
	engine_bank --detach --name bank "$image" run /data/bank.db /acks/acks >/dev/null
	say 'The bank is open: a container named bank, with its database on the volume.'
}

engine_bank() { docker run --network none --volume bank:/data --volume "$work/acks:/acks" "$@"; }

engine_last_backup() { :; } # the schedule's latest will do: backupd held the container still

engine_destroy() {
	show docker rm --force bank
	show docker volume rm bank
}

engine_check() { engine_bank --rm "$image" check /data/bank.db /acks/acks "$1"; }

# --- without: the bank is a process, and its volume a folder ------------------------------------------------------------------

folder_open() {
	say 'NO CONTAINER ENGINE (that takes root, and docker.io): a folder stands in for the volume, and a process for the container.'
	mkdir "$work/volumes/bank"
	"$work/image/bank" init "$work/volumes/bank/bank.db"
	"$work/image/bank" run "$work/volumes/bank/bank.db" "$work/acks/acks" >/dev/null &
	teller=$!
	say 'The bank is open: a process, with its database in the folder.'
}

folder_last_backup() {
	say 'Without an engine nobody holds the bank still for backupd, so for the last backup this script does:'
	show kill -STOP "$teller"
	show backupd backup bank
	show kill -CONT "$teller"
}

folder_destroy() {
	show kill -KILL "$teller"
	wait "$teller" 2>/dev/null || true # killed, as meant
	teller=
	show rm -r "$work/volumes/bank"
}

folder_check() { "$work/image/bank" check "$work/volumes/bank/bank.db" "$work/acks/acks" "$1"; }

# --- both ---------------------------------------------------------------------------------------------------------------------

# settings tells backupd where everything is. Nothing that this shell's user has set for another backupd may count.
settings() {
	unset "${!BACKUPD_@}"
	export BACKUPD_HOST=demo BACKUPD_STATE_DIR=$work/state BACKUPD_TARGETS=local=file://$work/backups BACKUPD_LOG_LEVEL=warn
	if [ "$mode" = folder ]; then
		export BACKUPD_SOURCE=dir BACKUPD_VOLUMES_DIR=$work/volumes BACKUPD_SCHEDULE='*/5 * * * * *' BACKUPD_RETENTION=last=3
	fi
}

# field prints one field of each snapshot, oldest first.
field() { backupd list --json | sed -nE 's/^ *"'"$1"'": "([^"]*)",?$/\1/p'; }

# watch_snapshots tells which snapshots come and go, until some have been made and retention has removed two of them.
watch_snapshots() {
	local known='' now id made=0 gone=0 deadline=$((SECONDS + 90))
	while [ $made -lt 5 ] || [ $gone -lt 2 ]; do
		[ $SECONDS -lt $deadline ] || fail "after 90 seconds only $made snapshots were made, and $gone removed"
		kill -0 "$daemon" 2>/dev/null || fail 'the daemon has ended'
		now=$(field id) || fail 'the snapshots cannot be listed'
		for id in $now; do
			if [[ " $known " != *" $id "* ]]; then
				say "  + $id made"
				known+=" $id" made=$((made + 1))
			fi
		done
		for id in $known; do
			if [[ $'\n'$now$'\n' != *$'\n'$id$'\n'* ]]; then
				say "  - $id removed: retention is last=3"
				known=${known/ $id/} gone=$((gone + 1))
			fi
		done
		sleep 0.5
	done
}

stop_daemon() {
	local code=0
	kill -TERM "$daemon"
	wait "$daemon" || code=$?
	daemon=
	[ $code -eq 0 ] || fail "the daemon ended with exit code $code"
}

mode=folder
if [ -n "${TEST_DOCKER_HOST:-}" ] && command -v docker >/dev/null; then
	mode=engine
	export DOCKER_HOST=$TEST_DOCKER_HOST # before anything is cleaned: this machine's own engine may have a bank, too
fi
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
cd "$repo"

step '1. Build backupd, and the bank'
show make --no-print-directory build
show env CGO_ENABLED=0 go build -trimpath -o "$work/image/bank" ./examples/demo/bank
export PATH=$repo/bin:$PATH

step '2. Open a bank. Its volume is to be backed up every five seconds, and three snapshots are to be kept'
settings
${mode}_open

step '3. Start backupd. It finds the volume, and backs it up while the bank moves money'
show backupd volumes
BACKUPD_LOG_LEVEL=info backupd run >"$work/daemon.log" 2>&1 &
daemon=$!
watch_snapshots
stop_daemon
${mode}_last_backup
show backupd list
taken=$(field taken | tail -n 1)
snapshot=$(field id | tail -n 1)

step '4. The worst day: the database is gone'
${mode}_destroy

step '5. One command gives it back'
show backupd restore bank --to-volume bank

step "6. Is all of it there? Snapshot $snapshot is of $taken"
say 'The bank checks its database, its books, and what it has told its customers:'
${mode}_check "$taken"

step 'Done. Snapshots, volumes and programs of this demo are removed again'
