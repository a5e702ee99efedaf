#!/usr/bin/env bash
# A newcomer's first look, from nothing to a report: installs what is missing, builds, soaks one guest twice.
#
#   part 1  scenarios/quickstart.toml as it is: a clean storage daemon, expected to pass (exit status 0)
#   part 2  the same with the founding bug planted in the storage daemon (it keeps the first descriptor of every
#           message it receives): expected to fail (exit status 1) with finding fd-leak
#
# Idempotent, from any directory. Exit status: 0 both parts went as expected, else 1.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
migsoak=$root/build/release/migsoak
leak=$root/build/release/tests/faults/libfd_leak_recvmsg.so
scenario=$root/scenarios/quickstart.toml

"$root/harness/setup.sh" --target migsoak --target guest_image --target fault_fd_leak_recvmsg

runs=$root/results/runs/quickstart-$(date -u +%Y%m%dT%H%M%SZ)-$$
mkdir -p "$runs/clean" "$runs/planted"
differences=()

heading() { printf '\n=== %s\n\n' "$*"; }
# soak PART EXPECTED_STATUS FLAGS...: one run, then its report.
soak() {
  local part=$1 expected=$2 status=0
  shift 2
  "$migsoak" run "$scenario" --db "$runs/$part/results.db" "$@" >"$runs/$part/stdout.log" || status=$?
  if [[ -e $runs/$part/results.db ]]; then
    "$migsoak" report "$runs/$part/results.db" --text || differences+=("$part: the report failed with status $?")
  else
    cat "$runs/$part/stdout.log"
  fi
  ((status == expected)) || differences+=("$part: exit status $status instead of $expected")
}

heading 'Part 1 of 2: a clean storage daemon, live migrations of one guest, every descriptor counted'
soak clean 0

heading 'Part 2 of 2: the same, with a descriptor leak planted in the storage daemon'
soak planted 1 --iterations 12 --set "target.disk0.env.LD_PRELOAD=$leak"
"$migsoak" findings "$runs/planted/results.db" --json 2>/dev/null | grep -Eq '"detector": ?"fd-leak"' ||
  differences+=('planted: no fd-leak among the findings')

heading 'quickstart'
if ((${#differences[@]})); then
  printf 'NOT as expected: %s\n' "${differences[@]}"
  exit 1
fi
printf 'As expected: the clean target passed, the planted leak was caught. Databases and logs: %s\n' "$runs"
