#!/usr/bin/env bash
# Boots a systemd as process 1 of its own namespaces, and cuts its power when stdin ends:
#
#     machine.sh DIR
#
# It prints the id of that process once it runs. The machine's file system is this one's, with all that it changes kept in
# DIR/disk, so that a second boot finds it again. Docker's data lie in DIR/docker, since an overlay cannot carry another. Its units
# are those in /etc/systemd/system, which is DIR/units, and no others. Cgroups are version 1 or 2, as here.
set -euo pipefail
dir=$1
own=backupd-test/${dir//\//-}

# hierarchies are the folders of all cgroup hierarchies; the hybrid layout's version 2 has nothing for a machine to use.
hierarchies() {
	if [ -e /sys/fs/cgroup/cgroup.procs ]; then
		echo /sys/fs/cgroup
	else
		grep -o ' /sys/fs/cgroup/[^ ]* .* - cgroup ' /proc/self/mountinfo | cut -d ' ' -f 2
	fi
}

# join moves this process into a cgroup of the machine's own, which a namespace then shows as the root.
join() {
	local root level file
	for root in $(hierarchies); do
		mkdir -p "$root/$own"
		for level in "$root/${own%/*}" "$root/$own"; do
			for file in cpuset.cpus cpuset.mems; do # empty at first, and then nothing may join
				[ ! -e "$root/tasks" ] || [ ! -e "$level/$file" ] || cat "$root/$file" >"$level/$file"
			done
		done
		echo 0 >"$root/$own/cgroup.procs"
	done
}

power_cut() {
	local root
	exec 2>/dev/null # the shell would tell of the kill
	kill -KILL "$machine" || true
	# What is frozen dies only when it is thawed, before it can do anything else.
	find /sys/fs/cgroup/freezer/"$own" -name freezer.state -exec sh -c 'echo THAWED >"$1"' sh {} \; || true
	wait "$machine" || true
	for root in $(hierarchies); do
		for _ in $(seq 50); do # a process that was just killed holds its cgroup for another moment
			! find "$root/$own" -depth -type d -exec rmdir {} + || break
			sleep 0.1
		done
		rmdir "$root/${own%/*}" || true # others may have one running
	done
}

if [ "${2:-}" = '' ]; then
	(
		join
		exec unshare --mount --pid --fork --kill-child --uts --ipc --net --cgroup "$0" "$dir" inside
	) </dev/null &
	machine=$!
	trap power_cut EXIT
	until init=$(cat "/proc/$machine/task/$machine/children") && [ "$(cat "/proc/${init% }/comm")" = systemd ]; do
		kill -0 "$machine"
		sleep 0.05
	done 2>/dev/null
	echo "${init% }"
	cat >/dev/null
	exit
fi

root=$dir/root
mkdir -p "$dir"/{root,disk,work,docker,units}
mount -t overlay -o "lowerdir=/,upperdir=$dir/disk,workdir=$dir/work" overlay "$root"
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mkdir -p "$root/var/lib/docker"
mount --bind "$dir/docker" "$root/var/lib/docker"
mount --bind "$dir/units" "$root/etc/systemd/system"
if [ -e /sys/fs/cgroup/cgroup.procs ]; then
	mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
else
	mount -t tmpfs -o mode=755 tmpfs "$root/sys/fs/cgroup"
	while IFS=: read -r _ name _; do
		[ -n "$name" ] || continue # that is version 2
		mkdir "$root/sys/fs/cgroup/${name#name=}"
		mount -t cgroup -o "${name/#name=/none,name=}" cgroup "$root/sys/fs/cgroup/${name#name=}"
	done </proc/self/cgroup
fi
ip link set lo up
hostname machine
cd "$root"
mkdir -p mnt
pivot_root . mnt
umount --lazy /mnt
mount --make-rshared /
# That it is told to be in a container keeps it from what belongs to the whole machine, such as the clock and the console.
exec env -i PATH="$PATH" container=backupd-test SYSTEMD_UNIT_PATH=/etc/systemd/system SYSTEMD_GENERATOR_PATH=/nowhere \
	/lib/systemd/systemd --system --unit=multi-user.target --log-target=console --show-status=no
