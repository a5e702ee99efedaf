#!/usr/bin/env bash
# A suite that is renamed falls out of its label without a word, and becomes `unit`: does each pattern still match a test?
#
#   label_filters.sh BUILD_DIR ROOM:PATTERN...
set -uo pipefail

build=$1
shift
none=0
for entry in "$@"; do
  room=${entry%%:*} pattern=${entry#*:}
  # Names of tests are indented, those of suites are not.
  grep -q '^ ' <<<"$("$build/test_$room" --gtest_list_tests --gtest_filter="$pattern" </dev/null)" && continue
  printf 'tests/CMakeLists.txt: no test of test_%s matches %s\n' "$room" "$pattern"
  none=$((none + 1))
done
printf '%d patterns, %d of them match nothing\n' $# "$none"
(($# > 0 && none == 0))
