# shellcheck shell=bash disable=SC2154 # work and built are self_test.sh's
# Sourced by self_test.sh: starts storage daemons and QEMUs under a fault, waits on conditions, reads /proc.
# Uses $work and $built; leaves the pids it started in `started` and what went wrong first in `reason`.
started=()   # our processes, all of them
monitor=()   # pid -> descriptor of its stdin

stop_all() {
  local pid
  for pid in "${started[@]}"; do kill -KILL "$pid" 2>/dev/null; done
  for pid in "${started[@]}"; do wait "$pid" 2>/dev/null; done
  started=()
}

# --- waiting and asserting -------------------------------------------------------------------------------------------
# eventually CONDITION: polls a shell condition, a minute at most (a busy machine may take long; a right one is quick).
eventually() {
  local end=$((SECONDS + 60))
  until eval "$1"; do
    ((SECONDS < end)) || return 1
    sleep 0.02
  done
}
reason=
expect() {  # expect CONDITION WHAT: remembers the first thing that did not come true
  [[ -z $reason ]] || return 1
  eventually "$1" || { reason="$2"; return 1; }
}
expect_now() {
  [[ -z $reason ]] || return 1
  eval "$1" || { reason="$2"; return 1; }
}
milliseconds() { local t=$EPOCHREALTIME; echo $((${t/./} / 1000)); }

# --- what /proc tells ------------------------------------------------------------------------------------------------
fds() { ls -l "/proc/$1/fd" 2>/dev/null | grep -c -- "-> .*$2"; }
threads() { ls "/proc/$1/task" | wc -l; }
mappings() { grep -c "${2:-}" "/proc/$1/maps"; }
rss_kib() { awk '/^VmRSS/ {print $2}' "/proc/$1/status"; }
state() { sed 's/.*) //; s/ .*//' "/proc/$1/stat" 2>/dev/null; }
zombies() {
  local child count=0
  for child in $(cat /proc/"$1"/task/*/children 2>/dev/null); do [[ $(state "$child") == Z ]] && count=$((count + 1)); done
  echo $count
}
# The path of a socket is there before anybody listens on it (bind, then listen): who connects in between is refused.
listens() { awk -v path="$1" '$4 == "00010000" && $8 == path { found = 1 } END { exit !found }' /proc/net/unix; }
gone() { [[ ! -d /proc/$1 || $(state "$1") == Z ]]; }

# --- processes -------------------------------------------------------------------------------------------------------
shim() { echo "$built/lib$1.so"; }
image=$work/disk.img
fresh_image() { head -c 4M /dev/zero | tr '\0' '\021' >"$image"; }  # 0x11 everywhere

# daemon [VARIABLE=VALUE]... [WRAPPER]...: a storage daemon with an NBD and a vhost-user-blk export; $target is its pid.
daemon() {
  rm -f "$work"/*.sock "$work/daemon.pid"
  env "$@" qemu-storage-daemon --pidfile "$work/daemon.pid" \
    --blockdev driver=file,node-name=disk,filename="$image",aio=threads,locking=off \
    --nbd-server addr.type=unix,addr.path="$work/nbd.sock" --export nbd,id=n,node-name=disk,name=disk,writable=on \
    --export vhost-user-blk,id=v,node-name=disk,addr.type=unix,addr.path="$work/vhost.sock",writable=on \
    </dev/null >"$work/daemon.log" 2>&1 &
  target=$!
  started+=("$target")
  # It writes its pid when everything is set up: from then on its descriptors are those that it has at rest.
  eventually '[[ -s $work/daemon.pid ]] && listens "$work/vhost.sock" && listens "$work/nbd.sock"' ||
    reason="the storage daemon does not listen"
}
# disk_io COMMAND...: one connection to the daemon, with these qemu-io commands
disk_io() {
  local commands=() command
  for command in "$@"; do commands+=(-c "$command"); done
  qemu-io -f raw "${commands[@]}" "nbd+unix:///disk?socket=$work/nbd.sock" >"$work/io.log" 2>&1
}
connect() { local i; for ((i = 0; i < $1; ++i)); do disk_io 'read 0 512' || return; done; }
block() { dd if="$image" bs=4096 skip="$1" count=1 status=none | od -An -v -tx1 | tr -s ' \n' '\n' | sort -u | xargs; }

# machine NAME [VARIABLE=VALUE]... -- ARGUMENT...: a QEMU with its HMP monitor on a fifo; $qemu is its pid.
machine() {
  local name=$1 settings=()
  shift
  while [[ $1 != -- ]]; do settings+=("$1"); shift; done
  shift
  local fd
  mkfifo "$work/$name.in"
  exec {fd}<>"$work/$name.in"
  rm "$work/$name.in"
  env "${settings[@]}" qemu-system-x86_64 -M q35,memory-backend=ram -accel tcg -m 64 -nodefaults -display none \
    -object memory-backend-memfd,id=ram,size=64M,share=on -monitor stdio "$@" <&$fd >"$work/$name.log" 2>&1 &
  qemu=$!
  started+=("$qemu")
  monitor[qemu]=$fd
}
tell() { echo "$2" >&"${monitor[$1]}"; }
said() { tr -d '\r' <"$work/$1.log" | grep -qa "$2"; }

# migrate_to [VARIABLE=VALUE]... [-- ARGUMENT...]: a paused source and a destination with the shim; told to migrate,
# at $told_ms.
migrate_to() {
  local settings=() extra=()
  while (($#)) && [[ $1 != -- ]]; do settings+=("$1"); shift; done
  (($#)) && shift && extra=("$@")
  rm -f "$work/mig.sock"
  machine source "${source_settings[@]}" -- -S "${extra[@]}"; source=$qemu
  machine destination "${settings[@]}" -- -S -incoming "unix:$work/mig.sock"; destination=$qemu
  expect 'listens "$work/mig.sock"' "the destination does not listen" || return
  told_ms=$(milliseconds)
  tell "$source" "migrate unix:$work/mig.sock"
}
source_settings=()  # VARIABLE=VALUE... of migrate_to's source
migrated() {
  expect 'tell $source "info migrate"; said source "Migration status: completed"' "the migration does not complete"
  # What a destination says while it still loads is "paused (inmigrate)".
  expect 'tell $destination "info status"; said destination "VM status: paused\( (prelaunch)\)\?$"' "it is not loaded"
}

# per_connection SHIM HOW_MUCH: HOW_MUCH (a shell expression on $target) grows by 1 per connection with the shim, and
# by 0 without. The daemon's own pools (coroutines, worker threads) are filled first.
per_connection() {
  local with each=0 base
  for with in "" "$(shim "$1")"; do
    daemon LD_PRELOAD="$with"
    connect 3 || reason="no connection"
    expect "[[ \$(fds \$target 'socket:') == 2 ]]" "connections are not closed"
    [[ -z $with ]] && base=$(eval "$2")
    expect "[[ \$($2) == $((base + 3 * each)) ]]" "preload '${with##*/}': 3 connections, $((base + 3 * each)) expected"
    connect 5
    expect "[[ \$($2) == $((base + 8 * each)) ]]" \
      "preload '${with##*/}': 8 connections, $((base + 8 * each)) expected, not $(eval "$2")"
    stop_all
    each=1
  done
}
