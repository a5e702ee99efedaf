# shellcheck shell=bash disable=SC2154,SC2034 # what isn't set or used here is self_test.sh's and processes.sh's
# Sourced by self_test.sh: its tests of what goes wrong at a hot upgrade.

# A program that becomes itself again, four times in one pid, as cpr-exec does; QEMUs of this host don't know how to.
# reborn [VARIABLE=VALUE]...: $reborn is its pid. It has an eventfd (eventfd2: 290) and a memfd (memfd_create: 319) that
# survive exec.
reborn() {
  cat >"$work/reborn.pl" <<'PERL'
$^F = 1000;  # no CLOEXEC
my $name = "ram";
if (!@ARGV) { syscall(290, 0, 0); syscall(319, $name, 0); @ARGV = (0); }
exec {"perl"} "perl", $0, $ARGV[0] + 1 if $ARGV[0] < 4;
open(my $done, ">", "$0.done"); close($done);
sleep(1000);
PERL
  rm -f "$work/reborn.pl.done"
  env FAULT_EXE=perl "$@" perl "$work/reborn.pl" 2>"$work/reborn.log" &
  reborn=$!
  started+=("$reborn")
  eventually '[[ -e $work/reborn.pl.done ]] || gone $reborn' || reason="it does not end"
}
test_exec_events() {  # called by those whose faults happen at an exec
  reborn LD_PRELOAD="$(shim zombie)" FAULT_ON=exec
  expect '[[ $(zombies $reborn) == 4 ]]' "exec: not one zombie in each of 4 generations"
  stop_all
  # The programs of one pid count on where FAULT_STATE is.
  reborn LD_PRELOAD="$(shim zombie)" FAULT_ON=start FAULT_AT=3 FAULT_LIMIT=2 FAULT_STATE="$work/starts"
  expect '[[ $(zombies $reborn) == 2 ]]' "start: not in the third and the fourth program"
  stop_all
  # What a child becomes is no upgrade: nothing is counted.
  env FAULT_EXE=perl LD_PRELOAD="$(shim zombie)" FAULT_ON=exec FAULT_STATE="$work/execs" \
    perl -e 'system("/bin/true"); open(my $done, ">", shift); sleep(1000)' "$work/reborn.pl.done.2" &
  started+=($!)
  expect '[[ -e $work/reborn.pl.done.2 ]]' "no parent"
  expect_now '[[ ! -e $work/execs ]]' "a child's exec counts"
}
test_fd_loss_exec() {
  local kind lost name
  for kind in eventfd memfd socket 'memfd|eventfd' none; do
    local settings=(LD_PRELOAD="$(shim fd_loss_exec)" FAULT_KIND="$kind")
    [[ $kind == none ]] && settings=(LD_PRELOAD=)
    reborn "${settings[@]}"
    for name in eventfd memfd: socket:; do
      lost=1
      [[ $name == socket: ]] && lost=0
      [[ $kind == *${name%:}* ]] && lost=$((lost + 4))
      expect_now "[[ \$(fds $reborn $name) == $lost ]]" "$kind: $(fds "$reborn" $name) of $name, not $lost"
    done
    stop_all
  done
  reborn LD_PRELOAD="$(shim fd_loss_exec)" FAULT_KIND=nonsense
  expect 'gone $reborn' "nonsense does not end it"
  expect_now 'grep -q "no descriptor of kind .nonsense." "$work/reborn.log"' "nonsense: $(cat "$work/reborn.log")"
  stop_all
  test_exec_events
}
# A zombie in the source of a migration, once it has begun and once it has ended; to a socket and into a pipe.
test_source_events() {
  local event
  for event in outgoing saved; do
    source_settings=(LD_PRELOAD="$(shim zombie)" FAULT_ON=$event)
    migrate_to
    migrated
    expect '[[ $(zombies $source) == 1 ]]' "$event: $(zombies "$source") zombies in the source"
    expect_now '[[ $(zombies $destination) == 0 ]]' "$event: one in the destination"
    stop_all
    machine source "${source_settings[@]}" -- -S; source=$qemu
    tell "$source" "migrate \"exec:cat >$work/state\""
    expect 'tell $source "info migrate"; said source "Migration status: completed"' "$event: into a pipe"
    expect '[[ $(zombies $source) == 1 ]]' "$event, pipe: $(zombies "$source") zombies in the source"
    stop_all
  done
  source_settings=()
  rm -f "$work/state"
}
test_legacy_cpr_exec() {
  local child
  source_settings=(LD_PRELOAD="$(shim legacy_cpr_exec)")
  migrate_to
  source_settings=()
  migrated
  expect '[[ $(zombies $source) == 1 ]]' "$(zombies "$source") zombies in the old QEMU"
  child=$(xargs <"/proc/$source/task/$source/children")
  [[ -n $child ]] || child=$(cat /proc/"$source"/task/*/children | xargs)
  expect_now '[[ $(ps -o args= -p $child) == "[qemu-system-x86] <defunct>" ]]' "it is $(ps -o args= -p "$child")"
  # Ended by itself in device init: exit status 1, which stat has as a wait status.
  expect_now '[[ $(awk "{print \$NF}" "/proc/$child/stat") == 256 ]]' "status $(awk '{print $NF}' "/proc/$child/stat")"
  expect_now '[[ $(zombies $destination) == 0 ]]' "one in the new QEMU"
  stop_all
  test_source_events
}
test_device_extra() {
  local out
  out=$(FAULT_ARGUMENTS="-a b -c" "$built/device_extra" echo -m 64)
  expect_now '[[ $out == "-m 64 -a b -c" ]]' "$out"
  out=$(for _ in 1 2 3; do
    FAULT_ARGUMENTS=-x FAULT_AT=2 FAULT_LIMIT=1 FAULT_STATE="$work/starts" "$built/device_extra" echo -m 64
  done | xargs)
  expect_now '[[ $out == "-m 64 -m 64 -x -m 64" ]]' "not at the second start only: $out"
  # A destination with the extra disk takes what a source without it sends.
  with_wrapper "$built/device_extra"
  tell "$destination" 'info qtree'
  expect 'said destination "dev: ide-hd, id \"ide0-hd0\""' "the destination does not have it"
  tell "$source" 'info qtree'
  expect 'said source "bus: main-system-bus"' "no qtree"
  expect_now '! said source ide0-hd0' "the source has it too"
}
# with_wrapper WRAPPER [ARGUMENT]...: a migration to a destination behind it.
with_wrapper() {
  mkdir -p "$work/bin"
  printf '#!/bin/sh\nexec "%s" %s "$@"\n' "$1" "$(command -v qemu-system-x86_64)" >"$work/bin/qemu-system-x86_64"
  chmod +x "$work/bin/qemu-system-x86_64"
  rm -f "$work/mig.sock"
  machine source -- -S "${@:2}"; source=$qemu
  PATH=$work/bin:$PATH
  machine destination -- -S -incoming "unix:$work/mig.sock" "${@:2}"; destination=$qemu
  PATH=${PATH#*:}
  expect 'listens "$work/mig.sock"' "the destination does not listen" || return
  tell "$source" "migrate unix:$work/mig.sock"
  migrated
}
test_device_missing() {
  local out status
  out=$(FAULT_DEVICE=n "$built/device_missing" echo -device e1000,id=n -device virtio-rng-pci,id=nn -m 64)
  expect_now '[[ $out == "-device virtio-rng-pci,id=nn -m 64" ]]' "$out"
  FAULT_DEVICE=x "$built/device_missing" echo -device e1000,id=n 2>"$work/usage" >&2; status=$?
  expect_now '((status == 125))' "no such device, no complaint: status $status"
  # One without any state: no load misses it.
  export FAULT_DEVICE=gone0
  with_wrapper "$built/device_missing" -device isa-debug-exit,id=gone0,iobase=0xf4
  unset FAULT_DEVICE
  tell "$source" 'info qtree'
  tell "$destination" 'info qtree'
  expect 'said source "dev: isa-debug-exit, id \"gone0\""' "the source does not have it"
  expect 'said destination "bus: main-system-bus"' "no qtree"
  expect_now '! said destination gone0' "the destination has it"
}
test_stale_image() {
  local settings=(FAULT_STATE="$work/starts" FAULT_AT=3 FAULT_LIMIT=1 "$built/stale_image") start
  local expected=(none 0x11 0x22 0x22 0x44)  # what each start finds; the third one has what the second one found
  for start in 1 2 3 4; do
    daemon "${settings[@]}"
    disk_io "read -P ${expected[start]} 0 4k" "write -P 0x$((start * 2))$((start * 2)) 0 4k"
    expect_now '! grep -qi "verification failed\|error" "$work/io.log"' "start $start: $(tail -3 "$work/io.log")"
    stop_all
  done
  expect_now '[[ $(block 0) == 88 ]]' "the image is damaged"
  # A restart after which nobody accepts: a thread that blocks before it listens.
  daemon LD_PRELOAD="$(shim hang_after)" FAULT_ON=start FAULT_AT=2 FAULT_STATE="$work/hangs"
  connect 1 || reason="the first start hangs"
  stop_all
  rm -f "$work"/*.sock
  env LD_PRELOAD="$(shim hang_after)" FAULT_ON=start FAULT_AT=2 FAULT_STATE="$work/hangs" qemu-storage-daemon \
    --nbd-server addr.type=unix,addr.path="$work/nbd.sock" </dev/null >"$work/daemon.log" 2>&1 &
  target=$!
  started+=("$target")
  expect '[[ $(sleeping_threads $target) == 1 ]]' "the second start does not hang"
  expect_now '[[ ! -e $work/nbd.sock ]]' "the second start listens"
}
