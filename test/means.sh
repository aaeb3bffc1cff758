#!/usr/bin/env bash
# Gives a command the means of the tests and of the demo, and takes them away again:
#
#     test/means.sh run [--only GROUP,...] -- COMMAND...
#
# It installs what is missing of Debian's packages after saying so (as root, with apt), builds the S3 server of the tests, and
# starts a private engine with its own data, sockets, containerd and network namespace. The engine that this machine may be
# running is never touched: COMMAND finds the private one in TEST_DOCKER_HOST, and no DOCKER_* variable.
# What cannot be had is said loudly and gone without: tests that need it count themselves as not run.
#
# Groups: engine shell compose postgres race archive memory filesystem systemd places folder s3; all of them by default.
set -euo pipefail

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/backupd-test
scratch=${TMPDIR:-/tmp}
# A socket's path has less than 108 bytes, and containerd's are deep.
[ ${#scratch} -le 24 ] || scratch=/tmp

# group | package | what tells that it is there | what it is for
packages='
engine|docker.io|dockerd|a private container engine
engine|iproute2|ip|the network namespace of that engine
shell|busybox-static|busybox|containers with a shell, without a registry
compose|docker-compose|docker-compose|a project as its users start it
postgres|postgresql-15|/usr/lib/postgresql/15/bin/postgres|a real database to back up
databases|mariadb-server|/usr/sbin/mariadbd|a real database to try out
databases|redis-server|/usr/bin/redis-server|a real database to try out
databases|redis-tools|/usr/bin/redis-check-aof|its checkers
databases|sqlite3|sqlite3|a real database to try out
race|gcc|gcc|the race detector
race|libc6-dev|/usr/include/stdlib.h|the race detector
archive|libarchive-tools|bsdtar|comparing archives with what another tar makes of them
archive|zstd|zstd|opening archives with stock tools
archive|age|age|opening encrypted archives with the stock tool
archive|openssh-client|ssh-keygen|keys to encrypt to
archive|acl|setfacl|files with access control lists
archive|attr|setfattr|files with extended attributes
systemd|systemd|/lib/systemd/systemd|the units under a real systemd
systemd|procps|pgrep|looking for processes that were left
places|rclone|rclone|targets of rclone, and a WebDAV server
places|openssh-server|/usr/sbin/sshd|targets of an SFTP server
folder|strace|strace|killing a process at each of its system calls
memory|time|/usr/bin/time|measuring the memory of a program
filesystem|xfsprogs|mkfs.xfs|file systems whose files can be cloned
filesystem|btrfs-progs|mkfs.btrfs|file systems whose files can be cloned
'

say() { printf 'means: %s\n' "$*" >&2; }

usage() {
	sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}" >&2
	exit 2
}

wanted() { [[ ",$only," == *",$1,"* || $only == all ]]; }

there() { command -v "$1" >/dev/null 2>&1 || [ -e "$1" ]; }

# --- packages -----------------------------------------------------------------------------------------------------------------

install_packages() {
	local group package probe why missing=()
	while IFS='|' read -r group package probe why; do
		if [ -n "$group" ] && wanted "$group" && ! there "$probe"; then
			missing+=("$package")
			say "missing: $package, for $why"
		fi
	done <<<"$packages"
	[ ${#missing[@]} -gt 0 ] || return 0
	if [ "$(id -u)" -ne 0 ] || ! there apt-get; then
		say "NOT INSTALLING ${missing[*]}: that takes root and apt; going on without"
		return 0
	fi
	say "installing ${missing[*]} from Debian's packages (their services are not started)"
	without_services apt_install "${missing[@]}" ||
		say "COULD NOT INSTALL ${missing[*]} (see above); going on without"
}

apt_install() {
	export DEBIAN_FRONTEND=noninteractive
	local package known=()
	apt-get update -qq >&2 || say "apt-get update failed; trying with what it knew before"
	for package in "$@"; do
		if apt-cache show "$package" >/dev/null 2>&1; then
			known+=("$package")
		else
			say "this machine's apt knows no $package"
		fi
	done
	[ ${#known[@]} -eq 0 ] || apt-get install -y -qq -o Dpkg::Use-Pty=0 --no-install-recommends "${known[@]}" >&2 || return
	keep_down "${known[@]}"
}

policy=/usr/sbin/policy-rc.d # asked by Debian's packages whether to start a service

# without_services runs a command while packages may not start their services, and puts the machine's own policy back.
without_services() {
	local code=0
	restore_policy # of a script that was killed
	[ ! -e $policy ] || mv $policy $policy.backupd-test
	printf '#!/bin/sh\n# backupd-test\nexit 101\n' >$policy
	chmod 755 $policy
	"$@" || code=$?
	restore_policy
	return $code
}

restore_policy() {
	if [ -e $policy ] && grep -qx '# backupd-test' $policy; then rm $policy; fi
	if [ -e $policy.backupd-test ]; then mv $policy.backupd-test $policy; fi
}

# keep_down keeps the services of packages that this script brought from starting at the next boot.
keep_down() {
	there systemctl || return 0
	local package
	for package in "$@"; do
		case $package in
		docker.io) systemctl --quiet disable docker.service docker.socket containerd.service 2>/dev/null ;;
		openssh-server) systemctl --quiet disable ssh.service ssh.socket 2>/dev/null ;;
		mariadb-server) systemctl --quiet disable mariadb.service 2>/dev/null ;;
		redis-server) systemctl --quiet disable redis-server.service 2>/dev/null ;;
		postgresql-15) systemctl --quiet disable postgresql.service 2>/dev/null ;;
		esac || say "the services of $package are enabled for the next boot"
	done
}

# --- the S3 server ------------------------------------------------------------------------------------------------------------

build_s3() {
	[ -e "$repo/test/s3server/go.mod" ] || return 0
	mkdir -p "$cache"
	if go -C "$repo/test/s3server" build -o "$cache/versitygw" github.com/versity/versitygw/cmd/versitygw; then
		export TEST_VERSITYGW=$cache/versitygw
	else
		say "COULD NOT BUILD the S3 server; going on without"
	fi
}

# --- the private engine -------------------------------------------------------------------------------------------------------

start_engine() {
	if [ "$(id -u)" -ne 0 ] || ! there dockerd || ! there ip; then
		say "NO ENGINE: that takes root, dockerd and ip; going on without"
		return 0
	fi
	sweep
	dir=$(mktemp -d "$scratch/backupd-test.XXXXXX")
	# Held as long as this script lives: tells a later one that this engine is not abandoned.
	exec 9>"$dir/lock"
	flock 9
	# Settings of the machine's own engine would contradict these.
	echo '{}' >"$dir/daemon.json"
	# Else it makes a subvolume of each image, which rm does not go into.
	[ "$(stat -f -c %T "$dir")" != btrfs ] || echo '{"storage-driver": "overlay2"}' >"$dir/daemon.json"
	# In a network namespace of its own it cannot touch the machine's bridge, and in a session of its own no Ctrl-C reaches it before
	# the tests. The cgroups are named here because remove_engine has to find them.
	setsid unshare --net sh -c 'ip link set lo up && exec "$@"' sh dockerd --config-file "$dir/daemon.json" --data-root "$dir/data" \
		--exec-root "$dir/run" --pidfile "$dir/pid" --host "unix://$dir/sock" --exec-opt native.cgroupdriver=cgroupfs \
		--cgroup-parent "/backupd-test/${dir##*.}" --iptables=false --ip-masq=false --ip6tables=false --shutdown-timeout 3 \
		>"$dir/log" 2>&1 9>&- &
	for _ in $(seq 300); do
		if grep -q 'API listen on' "$dir/log"; then
			export TEST_DOCKER_HOST=unix://$dir/sock
			return 0
		fi
		kill -0 $! 2>/dev/null || break
		sleep 0.1
	done
	say "THE PRIVATE ENGINE DID NOT START; going on without. The end of its log:"
	tail -n 20 "$dir/log" >&2
	remove_engine "$dir"
	dir=
}

# sweep removes engines whose script was killed before it could.
sweep() {
	local old
	for old in "$scratch"/backupd-test.*/; do
		old=${old%/}
		[ -e "$old/lock" ] || continue
		if flock --nonblock "$old/lock" true; then
			say "removing the abandoned engine in $old"
			remove_engine "$old"
		fi
	done
}

# remove_engine ends the engine in a folder with all that it started, and leaves nothing of it.
remove_engine() {
	local dir=$1 pid file
	# Nothing in a container needs a gentle end here.
	for file in /sys/fs/cgroup/{*/,}backupd-test/"${dir##*.}"/*/cgroup.procs; do
		[ -e "$file" ] || continue
		thaw "${file%/*}"
		while read -r pid; do
			kill -KILL "$pid" 2>/dev/null || true
		done <"$file"
	done
	for pid in $(processes "$dir"); do kill -TERM "$pid" 2>/dev/null || true; done
	for _ in $(seq 50); do
		[ -n "$(processes "$dir")" ] || break
		sleep 0.1
	done
	for pid in $(processes "$dir"); do kill -KILL "$pid" 2>/dev/null || true; done
	# The deepest first; a path with a space or the like stands escaped in mountinfo.
	cut -d ' ' -f 5 /proc/self/mountinfo | sort -r | while read -r file; do
		[[ $file != "$dir"/* ]] || umount --lazy "$(printf '%b' "${file//\\/\\0}")" || true
	done
	# A process that was just killed holds its cgroup for another moment.
	for file in /sys/fs/cgroup/{*/,}backupd-test/"${dir##*.}"; do
		[ -e "$file" ] || continue
		for _ in $(seq 50); do
			find "$file" -depth -type d -exec rmdir {} + 2>/dev/null && break
			sleep 0.1
		done
		rmdir "${file%/*}" 2>/dev/null || true # others may have one running
	done
	rm -rf --one-file-system "$dir" || say "could not remove all of $dir"
}

thaw() {
	[ ! -e "$1/freezer.state" ] || echo THAWED >"$1/freezer.state" 2>/dev/null || true
	[ ! -e "$1/cgroup.freeze" ] || echo 0 >"$1/cgroup.freeze" 2>/dev/null || true
}

# processes are dockerd, containerd and its shims: their command lines name the engine's own folders.
processes() {
	local proc
	for proc in /proc/[0-9]*; do
		if { tr '\0' ' ' <"$proc/cmdline" | grep -qF -e "--data-root $1/data " -e " $1/run/containerd/"; } 2>/dev/null; then
			echo "${proc#/proc/}"
		fi
	done
}

# --- run ----------------------------------------------------------------------------------------------------------------------

clean() {
	set +e # whatever of it fails, the rest is still to be done
	[ "$(id -u)" -ne 0 ] || restore_policy
	[ -z "$dir" ] || remove_engine "$dir"
}

# interrupted lets COMMAND end by itself: a Ctrl-C has reached it already.
interrupted() {
	trap '' INT TERM HUP
	if [ -n "$command" ]; then
		[ "$1" = INT ] || kill "-$1" "$command" 2>/dev/null || true
		wait "$command" || true
	fi
	exit "$2"
}

[ "${1:-}" = run ] || usage
shift
only=all
if [ "${1:-}" = --only ]; then
	only=${2:?--only needs a list of groups}
	shift 2
fi
[ "${1:-}" = -- ] && [ $# -ge 2 ] || usage
shift

dir=
command=
trap clean EXIT
trap 'interrupted TERM 143' TERM HUP
trap 'interrupted INT 130' INT
install_packages
if wanted s3; then build_s3; fi
if wanted engine; then start_engine; fi
unset DOCKER_HOST DOCKER_CONTEXT DOCKER_TLS_VERIFY DOCKER_CERT_PATH DOCKER_API_VERSION

# In the background, so that a TERM is passed on at once; with its own stdin and SIGINT, which such a command would lose.
(
	trap - INT
	exec "$@"
) <&0 9>&- &
command=$!
wait "$command"
