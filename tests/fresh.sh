#!/usr/bin/env bash
# A stranger's machine: a minimal Debian with git and ca-certificates, a clone of this checkout's HEAD, the README's two
# commands, no CI in the environment, no compiler cache from elsewhere. Needs root, debootstrap and this host's own apt sources.
#
#   tests/fresh.sh [--keep] [PART]...       default: all parts
#
#   root     bookworm, as root: ./scenarios/quickstart.sh, then ./tests/run.sh
#   sudo     bookworm, as a user with sudo: the same
#   trixie   trixie (GCC 14), as root: the build of ./scenarios/quickstart.sh, that is harness/setup.sh, without an error
#
#   --keep   the machines stay in build/fresh, for a look
#
# Each machine has its own mount, PID and IPC namespaces: whatever it mounts or leaves running goes with it. The logs stay in
# build/fresh/<part>-<command>.log. The last lines are a table: part, command, exit status, seconds. Exit status 1 when a command
# failed.
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
out=$root/build/fresh
all_parts=(root sudo trixie)
# shellcheck source=parts.sh
source "$root/tests/parts.sh"
take_parts fresh --keep "$@"
keep=$flagged
((EUID == 0)) || {
  printf 'fresh: makes machines by debootstrap and chroot, so it must be root\n' >&2
  exit 3
}
mkdir -p "$out"
if ! command -v debootstrap >/dev/null; then
  apt-get -q -y install --no-install-recommends debootstrap </dev/null >"$out/debootstrap.log" 2>&1 || {
    printf 'fresh: no debootstrap, and apt-get install debootstrap failed: %s\n' "$out/debootstrap.log" >&2
    exit 3
  }
fi

# Where this host gets its packages from: the first URI of an entry with `main`, not that of the security archive.
mirror=$(sed -n -e 's/^URIs: *\([^ ]*\).*/\1/p' -e 's/^deb \(\[[^]]*\] \)\?\([^ ]*\).*/\2/p' \
  /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | grep -v security | head -n 1)

# make_machine SUITE DIR: minimal, with this host's apt settings (a proxy, clocks that are off).
make_machine() {
  local suite=$1 dir=$2
  debootstrap --variant=minbase --include=git,ca-certificates "$suite" "$dir" "$mirror" >"$out/debootstrap.log" 2>&1 || {
    tail -n 5 "$out/debootstrap.log" >&2
    return 1
  }
  cp /etc/resolv.conf "$dir/etc/resolv.conf"
  cp /etc/hosts "$dir/etc/hosts"
  local setting
  for setting in /etc/apt/apt.conf.d/*; do
    grep -qE 'Proxy|Check-(Valid-Until|Date)|Verify' "$setting" && cp "$setting" "$dir/etc/apt/apt.conf.d/"
  done
  return 0
}

# in_machine DIR COMMAND: a shell command in the machine, in namespaces of its own, with nothing of this environment.
in_machine() {
  unshare --mount --pid --ipc --fork --kill-child --propagation private bash -c '
    dir=$1
    mount --bind "$dir" "$dir"  # the root of a machine is a mount, and unshare(1) counts on it
    mount -t proc proc "$dir/proc"
    mount -t sysfs -o ro sysfs "$dir/sys"
    mount -t tmpfs -o mode=0755 tmpfs "$dir/dev"
    for node in null zero full random urandom tty kvm userfaultfd; do
      [[ -e /dev/$node ]] || continue
      : >"$dir/dev/$node"
      mount --bind "/dev/$node" "$dir/dev/$node"
    done
    mkdir "$dir/dev/pts" "$dir/dev/shm"
    mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts "$dir/dev/pts"
    ln -s pts/ptmx "$dir/dev/ptmx"
    ln -s /proc/self/fd "$dir/dev/fd"
    mount -t tmpfs -o mode=1777 tmpfs "$dir/dev/shm"
    exec chroot "$dir" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb LANG=C.UTF-8 bash -c "$2"
  ' _ "$1" "$2" </dev/null
}

failed=no
table=$out/table.tsv
printf 'part\tcommand\texit status\tseconds\n' >"$table"

# timed PART DIR NAME COMMAND: one of the README's commands, with its log and its row.
timed() {
  local part=$1 dir=$2 name=$3 command=$4 began=$SECONDS status=0
  in_machine "$dir" "$command" >"$out/$part-$name.log" 2>&1 || status=$?
  printf '%s\t%s\t%s\t%s\n' "$part" "$name" "$status" "$((SECONDS - began))" | tee -a "$table" >&2
  ((status == 0)) || {
    tail -n 15 "$out/$part-$name.log" >&2
    failed=yes
  }
}

for part in "${parts[@]}"; do
  suite=bookworm
  [[ $part == trixie ]] && suite=trixie
  dir=$out/$part
  rm -rf --one-file-system "$dir"
  printf 'fresh: %s: a minimal %s\n' "$part" "$suite" >&2
  if ! make_machine "$suite" "$dir"; then
    printf '%s\tdebootstrap\t1\t-\n' "$part" >>"$table"
    failed=yes
    continue
  fi
  # The clone's origin: HEAD alone, whatever else lies in this checkout.
  git -c safe.directory='*' -C "$root" bundle create -q "$dir/srv/migsoak.bundle" HEAD
  case $part in
    root)
      timed "$part" "$dir" clone 'git clone -q /srv/migsoak.bundle /root/migsoak'
      timed "$part" "$dir" quickstart 'cd /root && ./migsoak/scenarios/quickstart.sh'
      timed "$part" "$dir" tests 'cd / && /root/migsoak/tests/run.sh'
      ;;
    sudo)
      timed "$part" "$dir" user 'apt-get -q update && apt-get -q -y install --no-install-recommends sudo &&
        useradd -m -s /bin/bash dev && echo "dev ALL=(ALL) NOPASSWD: ALL" >/etc/sudoers.d/dev'
      as_dev() { printf 'cd /home/dev && sudo -u dev -H env -i PATH=/usr/bin:/bin HOME=/home/dev TERM=dumb LANG=C.UTF-8 %s' "$1"; }
      timed "$part" "$dir" clone "$(as_dev 'git clone -q /srv/migsoak.bundle migsoak')"
      timed "$part" "$dir" quickstart "$(as_dev './migsoak/scenarios/quickstart.sh')"
      timed "$part" "$dir" tests "$(as_dev './migsoak/tests/run.sh')"
      ;;
    trixie)
      timed "$part" "$dir" clone 'git clone -q /srv/migsoak.bundle /root/migsoak'
      timed "$part" "$dir" build '/root/migsoak/harness/setup.sh'
      ;;
  esac
  [[ $keep == yes ]] || rm -rf --one-file-system "$dir"
done

printf '\n'
column -t -s $'\t' "$table" 2>/dev/null || cat "$table"
[[ $failed == no ]]
