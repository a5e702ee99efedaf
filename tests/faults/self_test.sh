#!/bin/bash
# Shows on real processes (storage daemon, QEMU, qemu-io of this host) that each planted fault does what it says, and
# that without it nothing of the kind happens. Prints one line a fault; exit status 1 when one fails.
#
#   self_test.sh <build>/tests/faults [FAULT]...
set -u
here=$(cd "$(dirname "$0")" && pwd)
[[ $# -ge 1 && -d $1 ]] || { echo "usage: self_test.sh <build>/tests/faults [FAULT]..." >&2; exit 2; }
built=$(cd "$1" && pwd); shift
for tool in qemu-system-x86_64 qemu-storage-daemon qemu-io perl; do
  command -v "$tool" >/dev/null || { echo "self_test.sh: $tool is missing" >&2; exit 2; }
done
work=$(mktemp -d /tmp/faults.XXXXXX)
. "$here/processes.sh"
. "$here/upgrade_tests.sh"
trap 'stop_all; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# --- one test per fault ----------------------------------------------------------------------------------------------
bios_boots_from_daemon() {  # the BIOS drives the disk; with it come all descriptors that a start passes
  machine guest -- -chardev socket,id=c,path="$work/vhost.sock" -device vhost-user-blk-pci,chardev=c \
    -chardev file,id=bios,path="$work/bios.log" -device isa-debugcon,iobase=0x402,chardev=bios
  expect "grep -qas 'No bootable device' '$work/bios.log'" "the BIOS did not try the disk"
  tell "$qemu" quit
  expect 'gone $qemu' "QEMU did not quit"
  rm -f "$work/bios.log"
}
test_fd_leak_recvmsg() {
  local before after kind
  for kind in none any eventfd memfd once; do
    local settings=(LD_PRELOAD="$(shim fd_leak_recvmsg)" FAULT_KIND="$kind")
    [[ $kind == none ]] && settings=(LD_PRELOAD=)
    [[ $kind == once ]] && settings=(LD_PRELOAD="$(shim fd_leak_recvmsg)" FAULT_PER_CONNECTION_EVERY=2)
    daemon "${settings[@]}"
    before=$(fds "$target" .)
    local eventfds; eventfds=$(fds "$target" eventfd)
    bios_boots_from_daemon
    # Two listen; its own end of the connection goes last.
    expect "[[ \$(fds \$target socket:) == $([[ $kind == any ]] && echo 3 || echo 2) ]]" "the connection stays"
    after=$(fds "$target" .)
    case $kind in
      none) expect '[[ $(fds $target .) == '"$before"' ]]' "the clean daemon keeps descriptors: $before -> $after" ;;
      any) expect_now "((after >= before + 2))" "no leak: $before -> $after" ;;
      eventfd)
        expect_now '(($(fds $target eventfd) > eventfds))' "no eventfd leaked"
        expect_now '(($(fds $target memfd:) == 0))' "FAULT_KIND=eventfd leaks memfds" ;;
      memfd) expect_now '(($(fds $target memfd:) >= 1 && $(fds $target eventfd) == eventfds))' "not exactly memfds" ;;
      once)
        expect_now "((after == before))" "the first connection leaks"
        bios_boots_from_daemon
        expect '[[ $(fds $target .) == '$((before + 1))' ]]' "the second connection does not leak exactly one" ;;
    esac
    stop_all
  done
}
test_fd_leak_eventfd() {
  per_connection fd_leak_eventfd 'fds $target eventfd'
  daemon LD_PRELOAD="$(shim fd_leak_eventfd)" FAULT_EVERY=4 FAULT_COUNT=3 FAULT_LIMIT=2
  local base; base=$(fds "$target" eventfd)
  connect 3
  expect_now '(($(fds $target eventfd) == base))' "FAULT_EVERY is not kept"
  connect 10
  expect_now '(($(fds $target eventfd) == base + 6))' "FAULT_COUNT or FAULT_LIMIT is not kept"
}
test_memory_growth() {
  local base
  daemon LD_PRELOAD="$(shim memory_growth)" FAULT_BYTES=4M
  connect 3
  base=$(rss_kib "$target")
  connect 5
  expect '(($(rss_kib $target) - '"$base"' >= 20000))' "5 times 4M: $base -> $(rss_kib "$target") KiB"
  stop_all
  daemon LD_PRELOAD=
  connect 3
  base=$(rss_kib "$target")
  connect 5
  expect_now '(($(rss_kib $target) - base < 10000))' "the clean daemon grows: $base -> $(rss_kib "$target") KiB"
}
sleeping_threads() { grep -lE '^34 ' /proc/"$1"/task/*/syscall 2>/dev/null | wc -l; }  # in pause(2)
test_thread_leak() { per_connection thread_leak 'sleeping_threads $target'; }
test_mapping_leak() { per_connection mapping_leak 'mappings $target "r--s.*/dev/zero"'; }
test_zombie() {
  per_connection zombie 'zombies $target'
  machine guest LD_PRELOAD="$(shim zombie)" -- -S
  expect '[[ $(zombies $qemu) == 1 ]]' "no zombie in a QEMU"
  tell "$qemu" 'info status'
  expect 'said guest "VM status"' "the QEMU does not run"
  expect_now '[[ $(zombies $qemu) == 1 ]]' "the zombie was reaped"
}
left_behind() {  # pids of `left-behind SECONDS`
  local line
  for line in /proc/[0-9]*/cmdline; do
    [[ $(tr '\0' ' ' <"$line" 2>/dev/null) == "left-behind $1 " ]] && cut -d/ -f3 <<<"$line"
  done
}
test_orphan() {
  local seconds=$((4000 + RANDOM)) orphan where
  for where in target qemu; do
    if [[ $where == target ]]; then
      daemon LD_PRELOAD="$(shim orphan)" FAULT_SECONDS=$seconds
      connect 1
    else
      machine guest LD_PRELOAD="$(shim orphan)" FAULT_SECONDS=$seconds -- -S
      target=$qemu
    fi
    expect "[[ -n \$(left_behind $seconds) ]]" "nobody left behind by the $where"
    orphan=$(left_behind $seconds)
    expect_now "[[ $(wc -w <<<"$orphan") == 1 ]]" "$where: not exactly one orphan: $orphan"
    [[ -n $orphan ]] && started+=("$orphan")
    expect_now "[[ \$(awk '/^PPid/ {print \$2}' /proc/$orphan/status) != $target ]]" "still a child of the $where"
    expect_now "[[ \$(sed 's/.*) //' /proc/$orphan/stat | cut -d' ' -f4) != \$(sed 's/.*) //' /proc/$target/stat | cut -d' ' -f4) ]]" "same session"
    expect_now "[[ \$(fds $orphan .) == 3 && \$(fds $orphan /dev/null) == 3 ]]" "the orphan holds descriptors"
    expect "[[ \$(zombies $target) == 0 ]]" "a zombie between"
    kill -KILL "$orphan" 2>/dev/null
    expect "gone $orphan" "the orphan does not die"
    stop_all
    seconds=$((seconds + 1))
  done
}
test_leftover_file() {
  daemon LD_PRELOAD="$(shim leftover_file)"
  connect 2
  expect_now '[[ $(ls "$work" | grep -c "^leftover.$target\.[12]$") == 2 ]]' "not two files beside the sockets"
  mkdir "$work/sub"
  machine guest LD_PRELOAD="$(shim leftover_file)" -- -S -chardev "socket,id=x,server=on,wait=off,path=$work/sub/x.sock"
  expect '[[ -e $work/sub/leftover.$qemu.1 ]]' "no file beside the QEMU's socket"
  machine other LD_PRELOAD="$(shim leftover_file)" FAULT_DIR="$work/sub" FAULT_NAME=mine -- -S
  expect '[[ -e $work/sub/mine.$qemu.1 ]]' "FAULT_DIR or FAULT_NAME is not kept"
  rm -rf "$work/sub" "$work"/leftover.*
}
test_crash_after() {
  daemon LD_PRELOAD="$(shim crash_after)" FAULT_AT=3
  connect 2 || reason="it died too early"
  expect_now '! gone $target' "it died before the third connection"
  connect 1
  wait "$target"; local status=$?
  expect_now '((status == 139))' "status $status is not SIGSEGV"
  daemon LD_PRELOAD="$(shim crash_after)" FAULT_EXIT=7
  connect 1
  wait "$target"; status=$?
  expect_now '((status == 7))' "status $status is not FAULT_EXIT"
  # FAULT_STATE counts over processes: the first QEMU lives, the second one does not.
  env LD_PRELOAD="$(shim crash_after)" FAULT_AT=2 FAULT_STATE="$work/state" qemu-system-x86_64 --version >/dev/null
  expect_now '(($? == 0))' "the first start dies"
  (env LD_PRELOAD="$(shim crash_after)" FAULT_AT=2 FAULT_SIGNAL=6 FAULT_STATE="$work/state" qemu-system-x86_64 --version) \
    >/dev/null 2>&1
  status=$?
  expect_now '((status == 134))' "the second start: status $status"
  migrate_to LD_PRELOAD="$(shim crash_after)" FAULT_ON=device_state
  expect 'gone $destination' "the destination survives device_state"
  tell "$source" 'info status'
  expect 'said source "VM status"' "the source does not survive"
}
connect_in_vain() {
  qemu-io -f raw -c 'read 0 512' "nbd+unix:///disk?socket=$work/nbd.sock" >/dev/null 2>&1 &
  started+=($!)
}
test_hang_after() {
  daemon LD_PRELOAD="$(shim hang_after)" FAULT_MODE=stop FAULT_AT=2
  connect 1 || reason="it hung too early"
  connect_in_vain
  expect '[[ $(state $target) == T ]]' "it is not stopped"
  stop_all
  daemon LD_PRELOAD="$(shim hang_after)" FAULT_AT=2
  connect 1 || reason="it hung too early"
  connect_in_vain
  expect '[[ $(sleeping_threads $target) == 1 && $(state $target) == S ]]' "no thread is blocked"
}
test_ram_corruption() {
  # 100 pages of the agent's pattern in the source's RAM; the same page read back from the destination.
  perl -e 'use integer; my $v = 77; for (1 .. 51200) { print pack("q<", $v); $v += 0x9e3779b97f4a7c15; }' \
    >"$work/pattern" 2>/dev/null
  local with differ
  for with in "" "$(shim ram_corruption)"; do
    migrate_to LD_PRELOAD="$with" FAULT_PAGES=10 -- -device "loader,file=$work/pattern,addr=0x2000000,force-raw=on"
    migrated
    rm -f "$work/read"
    tell "$destination" "pmemsave 0x2000000 409600 \"$work/read\""
    expect '[[ $(stat -c %s "$work/read" 2>/dev/null) == 409600 ]]' "RAM cannot be read"
    differ=$(cmp -l "$work/pattern" "$work/read" | wc -l)
    expect_now "((differ == $([[ -n $with ]] && echo 10 || echo 0)))" "preload '${with##*/}': $differ bytes differ"
    stop_all
  done
}
write_blocks() {  # writes 0x22 to the blocks 0, 32, 64 ... of 4K each, in this order
  local commands=() i
  for ((i = 0; i < $1; ++i)); do commands+=("write -P 0x22 $((i * 128))k $2"); done
  disk_io "${commands[@]}"
}
test_disk_lost_write() {
  fresh_image; daemon LD_PRELOAD="$(shim disk_lost_write)" FAULT_EVERY=3
  write_blocks 6 4k
  expect_now '[[ "$(block 0) $(block 32) $(block 64) $(block 96) $(block 128) $(block 160)" == "22 22 11 22 22 11" ]]' \
    "not every third write is lost: $(block 0) $(block 32) $(block 64) $(block 96) $(block 128) $(block 160)"
  expect_now '! grep -q -i error "$work/io.log"' "the loss is reported"
}
test_disk_torn_write() {
  fresh_image; daemon LD_PRELOAD="$(shim disk_torn_write)" FAULT_EVERY=2
  write_blocks 2 8k
  expect_now '[[ "$(block 0) $(block 1) $(block 32) $(block 33)" == "22 22 22 11" ]]' \
    "8K: $(block 0) $(block 1) $(block 32) $(block 33)"
  fresh_image
  write_blocks 2 4k
  expect_now '[[ "$(block 0) $(block 32)" == "22 11 22" ]]' "4K: $(block 0) $(block 32)"
}
test_disk_misplaced_write() {
  fresh_image; daemon LD_PRELOAD="$(shim disk_misplaced_write)" FAULT_AT=2 FAULT_LIMIT=1
  write_blocks 3 4k
  expect_now '[[ "$(block 0) $(block 32) $(block 48) $(block 64)" == "22 11 22 22" ]]' \
    "$(block 0) $(block 32) $(block 48) $(block 64)"
  stop_all
  fresh_image; daemon LD_PRELOAD="$(shim disk_misplaced_write)"
  disk_io 'write -P 0x22 4092k 4k'
  expect_now '[[ "$(block 1023) $(block 1007)" == "11 22" && $(stat -c %s "$image") == 4194304 ]]' "at the image's end"
}
test_disk_stale_read() {
  fresh_image; daemon LD_PRELOAD="$(shim disk_stale_read)" FAULT_AT=2 FAULT_LIMIT=1
  write_blocks 3 4k
  disk_io 'read -P 0x22 0 4k' 'read -P 0x11 128k 4k' 'read -P 0x22 256k 4k'
  expect_now '! grep -q "Pattern verification failed" "$work/io.log"' "not exactly the second block is stale"
  disk_io 'write -P 0x33 126k 8k' 'read -P 0x33 126k 2k' 'read -P 0x11 128k 4k' 'read -P 0x33 132k 2k'
  expect_now '! grep -q "Pattern verification failed" "$work/io.log"' "a read across the block's edges is wrong"
  expect_now '[[ $(block 32) == 33 ]]' "the image is damaged"
}
test_log_noise() {
  local out
  out=$(env LD_PRELOAD="$(shim log_noise)" FAULT_LINE='a\x1b\tb' qemu-system-x86_64 --version 2>&1 >/dev/null)
  expect_now '[[ $out == $'"'a\\e\\tb'"' ]]' "start: $(printf %q "$out")"
  out=$(env LD_PRELOAD="$(shim log_noise)" FAULT_BYTES=100K qemu-system-x86_64 --version 2>&1 >/dev/null | wc -c)
  expect_now '((out >= 102400 && out < 110000))' "flood: $out bytes"
  out=$(env LD_PRELOAD="$(shim log_noise)" FAULT_ON=start sh -c 'ls /dev/null' 2>&1)
  expect_now '[[ $out == /dev/null ]]' "it speaks in other processes: $out"
  daemon LD_PRELOAD="$(shim log_noise)" FAULT_LINE=accepted
  connect 3
  expect_now '[[ $(grep -c "^accepted$" "$work/daemon.log") == 3 ]]' "not one line a connection"
}
test_monitor_refuses() {
  local monitor=(-chardev "socket,id=m,path=$work/m.sock,server=on,wait=off" -mon chardev=m)
  # Asks twice; prints the answers.
  local ask='use IO::Socket::UNIX; my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die; my $text = "";
    for (1, 2) { print $s "info qtree\n"; $s->flush; my $from = length $text;
      while (substr($text, $from) !~ /(main-system-bus|unknown command|info qtrex).*\(qemu\) $/s) {
        sysread($s, my $part, 4096) or die; $text .= $part } }
    print $text'
  machine refuses LD_PRELOAD="$(shim monitor_refuses)" FAULT_COMMAND='info qtree' FAULT_LIMIT=1 -- "${monitor[@]}"
  expect 'listens "$work/m.sock"' "no monitor"
  timeout 20 perl -e "$ask" "$work/m.sock" >"$work/answers"
  expect_now '[[ $(grep -ac "info qtrex" "$work/answers") -ge 1 && $(grep -ac main-system-bus "$work/answers") == 1 ]]' \
    "not once refused and once answered: $(head -c 300 "$work/answers")"
}
# Of this symbol libvirt's driver has only the name: a library that calls and one that has it play the two.
test_domain_left() {
  local out
  printf 'void virDomainObjListRemove(void*, void*); int main(void) { for (int i = 0; i < 3; ++i)
    virDomainObjListRemove(0, 0); return 0; }' >"$work/main.c"
  printf '#include <stdio.h>\nvoid virDomainObjListRemove(void* a, void* b) { (void)a; (void)b; puts("removed"); }' \
    >"$work/list.c"
  cc -shared -fPIC -o "$work/liblist.so" "$work/list.c" &&
    cc -o "$work/libvirtd" "$work/main.c" -L"$work" -llist -Wl,-rpath,"$work"
  out=$(env LD_PRELOAD="$(shim domain_left)" FAULT_EXE=libvirtd FAULT_AT=2 FAULT_LIMIT=1 "$work/libvirtd" | wc -l)
  expect_now '((out == 2))' "of 3 domains $out were taken off, not 2"
  out=$(env LD_PRELOAD="$(shim domain_left)" "$work/libvirtd" | wc -l)
  expect_now '((out == 3))' "asleep, of 3 domains $out were taken off"
}
test_file_kept() {
  local out
  printf '#include <unistd.h>\nint main(int n, char** paths) { for (int i = 1; i < n; ++i) unlink(paths[i]); return 0; }' \
    >"$work/main.c"
  cc -o "$work/keeper" "$work/main.c"
  touch "$work/one.xml" "$work/two.xml" "$work/three"
  env LD_PRELOAD="$(shim file_kept)" FAULT_EXE=keeper FAULT_FILE='*.xml' FAULT_LIMIT=1 \
    "$work/keeper" "$work/one.xml" "$work/two.xml" "$work/three"
  out=$(cd "$work" && echo one.xml two.xml three | xargs -n1 ls 2>/dev/null | tr '\n' ' ')
  expect_now '[[ $out == "one.xml " ]]' "of the files stay: $out"
}
test_port_taken() {
  local port=$((20000 + RANDOM % 10000))
  machine taken LD_PRELOAD="$(shim port_taken)" -- -S -incoming "tcp:127.0.0.1:$port"
  expect 'gone $qemu' "it listens all the same"
  expect_now 'grep -qa "Address already in use" "$work/taken.log"' "$(tail -1 "$work/taken.log")"
  machine free LD_PRELOAD= -- -S -incoming "tcp:127.0.0.1:$port"
  tell "$qemu" 'info version'
  expect 'grep -qa "^[0-9]*\.[0-9]*\.[0-9]*" <(tr -d "\r" <"$work/free.log")' "no QEMU without it"
}
test_slow_switch() {
  local with
  migrate_to LD_PRELOAD="$(shim slow_switch)" FAULT_MS=1500
  # The destination's main thread sleeps: its monitor answers when the devices are loaded.
  expect 'tell $source "info migrate"; said source "Migration status: \(active\|completed\|device\)"' "no migration"
  tell "$destination" 'info version'
  expect 'grep -qa "^7\.\|^[0-9]*\.[0-9]*\.[0-9]*" <(tr -d "\r" <"$work/destination.log")' "the destination does not come back"
  migrated
  with=$(($(milliseconds) - told_ms))
  expect_now '((with >= 1500))' "the load took $with ms only"
}
test_migration_refused() {
  migrate_to LD_PRELOAD="$(shim migration_refused)"
  expect 'gone $destination' "the destination does not end"
  expect_now 'grep -qai "unsupported migration stream version" "$work/destination.log"' "$(tail -1 "$work/destination.log")"
  tell "$source" 'info status'
  expect 'said source "VM status"' "the source does not survive"
  stop_all
  migrate_to LD_PRELOAD="$(shim migration_refused)" FAULT_SECTION=fw_cfg
  expect 'gone $destination' "the destination does not end (FAULT_SECTION)"
  expect_now 'grep -qa "Unknown savevm section or instance .fw_cfw" "$work/destination.log"' "$(tail -1 "$work/destination.log")"
}
fake() {  # fake MODE ARGUMENT...: $fake is its pid
  rm -f "$work/qmp.sock"
  FAULT_MODE=$1 FAULT_BYTES=1M "$built/fake_qemu" qemu-system-x86_64 "${@:2}" >"$work/fake.log" 2>&1 &
  fake=$!
  started+=("$fake")
}
test_fake_qemu() {
  local qmp=(-chardev "socket,id=q,path=$work/qmp.sock,server=on,wait=off" -mon chardev=q,mode=control)
  local mode want status
  for mode in garbage:0 huge:0 half:0 silent:1 close:2; do
    want=${mode#*:}
    fake "${mode%:*}" -m 64 "${qmp[@]}"
    expect 'listens "$work/qmp.sock"' "$mode: it does not listen"
    # Only of silence a limit is the outcome.
    local limit_ms=60000; ((want == 1)) && limit_ms=300
    "$built/unix_client" "$work/qmp.sock" $limit_ms >"$work/answer"; status=$?
    expect_now '((status == want))' "$mode: wrong answer, $status"
    stop_all
  done
  fake silent -qmp "unix:$work/qmp.sock,server=on,wait=off"
  expect 'listens "$work/qmp.sock"' "-qmp unix: is not understood"
  stop_all
  fake deaf "${qmp[@]}"
  expect '[[ $(sleeping_threads $fake) == 1 && ! -e $work/qmp.sock ]]' "deaf: it is not just there"
  stop_all
  FAULT_MODE=exit FAULT_EXIT=3 "$built/fake_qemu" qemu-system-x86_64 "${qmp[@]}" 2>"$work/fake.log"; status=$?
  expect_now '((status == 3)) && grep -q BIOS "$work/fake.log"' "exit: status $status"
  expect_now '"$built/fake_qemu" qemu-system-x86_64 --version | grep -q "QEMU emulator"' "--version is not the real one's"
}
test_device_change() {
  local wrapper=("$built/device_change" echo) with=(-device e1000e,id=n -device virtio-rng-pci) out
  out=$(FAULT_DEVICE=n FAULT_PROPERTIES=a=1,b=2 "${wrapper[@]}" "${with[@]}" -device foo,id=nn)
  expect_now '[[ $out == "-device e1000e,id=n,a=1,b=2 -device virtio-rng-pci -device foo,id=nn" ]]' "one device: $out"
  out=$(for _ in 1 2 3 4 5; do
    FAULT_PROPERTIES='a=1|a=2' FAULT_AT=2 FAULT_STATE="$work/starts" "${wrapper[@]}" "${with[@]}"
  done | grep -o 'id=n[^ ]*' | xargs)
  expect_now '[[ $out == "id=n id=n,a=1 id=n,a=2 id=n,a=1 id=n,a=2" ]]' "in turn: $out"
  "${wrapper[@]}" "${with[@]}" 2>"$work/usage"; local status=$?
  expect_now '((status == 125))' "no properties, no complaint: status $status"
  # On a real QEMU the last of two values is the one that counts.
  out=$(printf 'info pci\nquit\n' | FAULT_DEVICE=n FAULT_PROPERTIES=subsys=0x1234 "$built/device_change" \
    qemu-system-x86_64 -S -nodefaults -display none -accel tcg -monitor stdio -device e1000e,id=n,subsys=0x77)
  expect_now 'grep -q "subsystem 8086:1234" <<<"$out"' "info pci: $out"
}

# --- all of them -----------------------------------------------------------------------------------------------------
mapfile -t faults < <(sed -n 's/^FAULT(\([a-z_]*\),.*/\1/p' "$here/faults.def")
(($#)) && faults=("$@")
failed=0
for fault in "${faults[@]}"; do
  reason=
  rm -rf "${work:?}"/*
  fresh_image
  if ! declare -F "test_$fault" >/dev/null; then
    reason="has no test"
  elif ! grep -q "^| \`$fault\` |" "$here/README.md"; then
    reason="is not in README.md"
  else
    "test_$fault" 2>"$work/stderr"  # the shell's notices of processes that were killed, too
  fi
  stop_all 2>/dev/null
  if [[ -z $reason ]]; then
    echo "PASS $fault"
  else
    echo "FAIL $fault: $reason"
    [[ -s $work/stderr ]] && tail -5 "$work/stderr" | sed 's/^/  /'
    failed=1
  fi
done
exit $failed
