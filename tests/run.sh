#!/usr/bin/env bash
# All tests, on a machine with nothing but git: installs what is missing, builds, then
#
#   tests      everything under CTest, in build/release: unit, style, faults, integration, a smoke run of the benchmark
#   sanitized  the rooms' tests that need no QEMU again under AddressSanitizer and UndefinedBehaviorSanitizer, in build/asan
#   threads    what lanes share (their threads, recorder, progress, processes) under ThreadSanitizer, in build/tsan
#   lint       clang-format and clang-tidy (tests/style/lint.sh); every file compiles alone (tests/style/alone.sh)
#
#   tests/run.sh [PART]...     only these parts
#
# The tests wait more than they compute, so what only computes (the sanitized build, lint) goes on beside them, at the lowest
# priority. What it said comes under its own heading.
#
# Every skip is printed with its reason. The last line is "N passed, N failed, N skipped"; exit status 1 when anything failed.
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
all_parts=(tests sanitized threads lint)
# shellcheck source=parts.sh
source "$root/tests/parts.sh"
take_parts run.sh '' "$@"

passed=0 failed=0 skipped=0
skips=() failures=()

# For tests that configure a tree of their own: there need not be a make.
export CMAKE_GENERATOR=Ninja

heading() { printf '\n=== %s (%d s so far)\n' "$*" "$SECONDS"; }
wants() { [[ " ${parts[*]} " == *" $1 "* ]]; }

# check NAME COMMAND...: a step that counts as one test.
check() {
  local name=$1
  shift
  if "$@"; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    failures+=("$name")
  fi
}

work=$(mktemp -d "${TMPDIR:-/tmp}/run.XXXXXX")
beside=
# shellcheck disable=SC2317
clean_up() {
  [[ -z $beside ]] || kill -- "-$beside" 2>/dev/null
  rm -rf "$work"
}
trap clean_up EXIT

# go_beside FUNCTION...: one after the other, in the background. The output of each becomes $work/FUNCTION.log, and its exit
# status a line of $work/ends. One call only.
go_beside() {
  mkfifo "$work/ends"
  exec 9<>"$work/ends"
  set -m
  (
    renice -n 19 "$BASHPID" >/dev/null
    for name in "$@"; do
      "$name" >"$work/$name.log" 2>&1 </dev/null
      printf '%d\n' $? >&9
    done
  ) &
  beside=$!
  set +m
}

# The next of them: waits for its end, prints what it said, returns its status.
conclude() {
  local status
  until read -r -t 5 status <&9; do
    jobs -pr | grep -qx "$beside" && continue
    printf 'run.sh: what ran beside the tests was killed\n' >&2
    exit 3
  done
  cat "$work/$1.log"
  return "$status"
}

# The set-up is no test: when it fails there is nothing to count.
set_up() {
  "$root/harness/setup.sh" --tests "$@" </dev/null || {
    printf 'run.sh: the set-up failed (harness/setup.sh --tests %s)\n' "$*" >&2
    return 3
  }
}

# One line per test of a CTest JUnit file: "passed NAME", "failed NAME" or "skipped NAME: REASON"; and, as they are,
# the lines a passed test wants people to see: those it printed as "[ TABLE ] …".
read_junit() {
  awk '
    function plain(text) {
      gsub(/&lt;/, "<", text); gsub(/&gt;/, ">", text); gsub(/&quot;/, "\"", text); gsub(/&apos;/, "\x27", text)
      gsub(/&amp;/, "\\&", text)
      return text
    }
    /<testcase / {
      match($0, / name="[^"]*"/); name = plain(substr($0, RSTART + 7, RLENGTH - 8))
      match($0, / status="[^"]*"/); status = substr($0, RSTART + 9, RLENGTH - 10)
      message = ""; reason = ""; in_reason = 0
    }
    /<skipped message=/ { match($0, /message="[^"]*"/); message = plain(substr($0, RSTART + 9, RLENGTH - 10)) }
    /^\[  SKIPPED \]/ { in_reason = 0 }
    in_reason && $0 != "" { reason = reason (reason == "" ? "" : " ") plain($0) }
    /: Skipped$/ { in_reason = 1 }
    /^(.*<system-out>)?\[ TABLE \]/ { line = $0; sub(/^.*\[ TABLE \] ?/, "", line); print "table " plain(line) }
    /<\/testcase>/ {
      if (status == "run") print "passed " name
      else if (status == "disabled") print "skipped " name ": disabled in the source"
      else if (status == "notrun" && message ~ /^SKIP_/) print "skipped " name ": " (reason == "" ? "no reason given" : reason)
      else print "failed " name (message == "" ? "" : " (" message ")")
    }' "$1"
}

# The same of the files that GoogleTest itself writes where a room's tests are one process (build/asan/gtest). A room that
# leaves none, because it was killed or has crashed, is in CTest's file.
read_rooms() {
  local file room
  while read -r file; do
    room=$(basename "$file" .xml)
    awk -v room="$room" '
      function value(name) { return match($0, " " name "=\"[^\"]*\"") ? substr($0, RSTART + length(name) + 3, RLENGTH - length(name) - 4) : "" }
      function done() { if (test != "") print (bad ? "failed " : skipped ? "skipped " : "passed ") room "." test (skipped && !bad ? ": " reason : ""); test = "" }
      /<testcase / {
        done()
        test = value("classname") "." value("name"); bad = 0; skipped = value("result") == "skipped"; reason = "no reason given"
        if (value("status") != "run") test = ""
      }
      /<failure / { bad = 1 }
      /<skipped / { reason = value("message"); sub(/^.*&#x0A;/, "", reason); gsub(/&quot;/, "\"", reason); gsub(/&amp;/, "\\&", reason) }
      END { done() }' "$file"
  done < <(find "$1/gtest" -name '*.xml' | sort)
  read_junit "$1/junit.xml" | while read -r kind text; do
    # A room, which has no dot in its name, is told above, test by test.
    [[ ${text%% *} != *.* && ($kind == passed || -e $1/gtest/${text%% *}.xml) ]] || printf '%s %s\n' "$kind" "$text"
  done
}

# run_ctest BUILD ARGUMENTS...
ctest=(ctest) reader=read_junit
run_ctest() {
  local build=$1 kind text before=$failed status=0
  shift
  local junit=$build/junit.xml results=$build/junit.xml
  [[ $reader == read_junit ]] || results=$build
  rm -rf "$junit" "$build/gtest"
  # Of a passed test ctest keeps 1024 bytes only, unless it is told otherwise: too little for a table.
  "${ctest[@]}" --test-dir "$build" --output-on-failure --no-tests=error --test-output-size-passed 65536 \
    --output-junit "$junit" -j "$(nproc)" "$@" </dev/null ||
    status=$?
  [[ -e $junit ]] && while read -r kind text; do
    case $kind in
      passed) passed=$((passed + 1)) ;;
      skipped)
        skipped=$((skipped + 1))
        skips+=("$text")
        ;;
      failed)
        failed=$((failed + 1))
        failures+=("$text (in ${build##*/})")
        ;;
      table) printf '%s\n' "$text" ;;
    esac
  done < <("$reader" "$results")
  # ctest may fail without any test having failed: nothing found, a crash of its own.
  if ((status != 0 && failed == before)); then
    failed=$((failed + 1))
    failures+=("ctest in ${build##*/} (exit status $status)")
  fi
}

sanitized_build() {
  local folder room targets=()
  for folder in "$root"/tests/*/; do
    room=$(basename "$folder")
    # Rooms only: the integration tests start the binary that users have.
    [[ -d $root/harness/$room ]] && compgen -G "$folder*_test.cpp" >/dev/null && targets+=(--target "test_$room")
  done
  set_up --sanitize address "${targets[@]}"
}
threads_build() { set_up --sanitize thread --target test_threads; }
format() { "$root/tests/style/lint.sh" --format; }
alone() { "$root/tests/style/alone.sh" --lean; }
tidy() { "$root/tests/style/lint.sh" --tidy --lean; }

if wants tests || wants lint; then
  heading 'set-up and release build'
  set_up || exit 3
fi
later=()
wants sanitized && later+=(sanitized_build)
wants threads && later+=(threads_build)
wants lint && later+=(format alone tidy)
((${#later[@]})) && go_beside "${later[@]}"
# QEMU builds beside the system's: hot upgrades need 11.1, edges between builds another one, case 4 trixie's. Without the
# network the tests that need them are skipped, and say so.
if wants tests; then
  heading 'QEMU builds for the fleet'
  for suite in forky bookworm-backports trixie; do
    "$root/build/release/migsoak" fleet add "debian:$suite" </dev/null ||
      printf 'debian:%s is not there: tests that need it are skipped\n' "$suite"
  done
fi
if wants tests; then
  heading 'tests'
  run_ctest "$root/build/release"
fi
if wants sanitized; then
  heading 'sanitized build'
  conclude sanitized_build || exit 3
  heading 'unit tests, sanitized'
  reader=read_rooms
  UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 run_ctest "$root/build/asan" -L '^(sanitized|unit|process|root)$' \
      -E '^guest-images\.'
  reader=read_junit
fi
if wants threads; then
  heading 'build for ThreadSanitizer'
  conclude threads_build || exit 3
  heading 'threads'
  # GCC 12's ThreadSanitizer refuses an address space that the kernel has shuffled by more than 28 bits: then without.
  probe=$("$root/build/tsan/test_threads" --gtest_list_tests 2>&1 >/dev/null </dev/null)
  if [[ $probe == *'unexpected memory mapping'* ]]; then
    if setarch -R "$root/build/tsan/test_threads" --gtest_list_tests </dev/null >/dev/null 2>&1; then
      ctest=(setarch -R ctest)
    else
      skipped=$((skipped + 1))
      skips+=("threads: ThreadSanitizer can't run here (${probe%%$'\n'*}), and setarch -R is not allowed")
      ctest=()
    fi
  fi
  if ((${#ctest[@]})); then
    TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1 run_ctest "$root/build/tsan" -L '^threads$'
  fi
  ctest=(ctest)
fi
if wants lint; then
  heading 'lint'
  check clang-format conclude format
  check compiles-alone conclude alone
  check clang-tidy conclude tidy
fi

heading 'result'
((${#skips[@]})) && printf 'skipped: %s\n' "${skips[@]}"
((${#failures[@]})) && printf 'FAILED: %s\n' "${failures[@]}"
printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
((failed == 0 && passed > 0))
