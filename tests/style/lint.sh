#!/usr/bin/env bash
# clang-format and clang-tidy over the repository's C and C++ files.
#
#   tests/style/lint.sh [--format] [--tidy] [--lean] [--build DIR]      default: both, on build/release
#
#   --lean   tidy without clang-analyzer, without checks that cost much and find next to nothing, and without the tests' own
#            sources: half the time, for CI
#
# tidy takes seconds per file, so what passed is remembered in build/tidy-cache, under a hash of the file, every header
# of the project it includes (as ninja recorded them), .clang-tidy, the flags and clang-tidy's version.
# The last line is a summary; exit status 1 when anything is wrong.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=$root/build/release
cache=$root/build/tidy-cache
format=no tidy=no lean=no
while (($#)); do
  case $1 in
    --format) format=yes ;;
    --tidy) tidy=yes ;;
    --lean) lean=yes ;;
    --build)
      build=$2
      shift
      ;;
    *)
      printf 'lint: unknown option %s\n' "$1" >&2
      exit 2
      ;;
  esac
  shift
done
[[ $format$tidy == nono ]] && format=yes tidy=yes
cd "$root"

# The planted bad tree of the style test is not ours to format or lint.
sources() {
  git -c safe.directory='*' ls-files -- 'harness/**' 'tests/**' 'guest-images/**' |
    grep -E "\.($1)\$" | grep -v '^tests/style/planted/' | while read -r file; do [[ -f $file ]] && echo "$file"; done
}

check_format() {
  local files wrong
  mapfile -t files < <(sources 'cpp|h|c')
  wrong=$(clang-format-14 --dry-run --Werror "${files[@]}" 2>&1 | sed -n 's/: error: .*//p')
  [[ -z $wrong ]] || printf 'not as clang-format-14 -i leaves it: %s\n' $wrong
  printf 'clang-format: %d files, %d places to format\n' "${#files[@]}" "$(grep -c . <<<"$wrong")"
  [[ -z $wrong ]]
}

# The flags are GCC's: clang does not know all of them.
tidy_flags=(--quiet -p "$build" --extra-arg=-Wno-unknown-warning-option)
export root cache lean

# "KEY UNIT" for each translation unit that the build compiled: a source, or several of them put together by a unity
# build. Leaves the sources they cover in $cache/covered.
tidy_keys() {
  local scope='harness/|guest-images/|tests/'
  [[ $lean == yes ]] && scope='harness/|guest-images/'
  local common
  common=$({ clang-tidy-14 --version; cat .clang-tidy; printf '%s\n' "$lean"; } | sha256sum | cut -c1-64)
  sources 'cpp|c' | grep -E "^($scope)" >"$cache/wanted"
  sources 'cpp|h|c|def' | xargs -d '\n' sha256sum >"$cache/hashes"
  # Each object's block of `ninja -t deps` begins "OBJECT: #deps …"; the first file below it is what was compiled.
  ninja -C "$build" -t deps | awk -v root="$root/" -v build="$build/" -v covered="$cache/covered" '
    BEGIN { printf "" >covered }
    function flush(  i) {
      if (count > 0 && !(unit in done)) {
        print unit "\t" key
        for (i = 1; i <= count; ++i) print sources[i] >covered
        done[unit]
      }
      unit = ""; key = ""; count = 0
    }
    FILENAME == ARGV[1] { wanted[$1]; next }
    FILENAME == ARGV[2] { hash[$2] = $1; next }
    /^[^ ]/ { flush(); next }
    NF == 1 {
      path = $1
      if (path !~ /^\//) path = build path
      # A compiler cache may have made it relative to the build tree.
      while (sub(/\/[^\/]+\/\.\.\//, "/", path)) {}
      if (unit == "") unit = path
      if (index(path, root) != 1) next
      path = substr(path, length(root) + 1)
      if (path in wanted) sources[++count] = path
      if (path in hash) key = key hash[path]
    }
    END { flush() }' "$cache/wanted" "$cache/hashes" - |
    while IFS=$'\t' read -r unit key; do
      # The flags of the first command that compiles it; the build tree's own path says nothing.
      flags=$(grep -m1 -F "\"file\": \"$unit\"" -B1 "$build/compile_commands.json" | sed -n 's/.*"command": //p' |
        sed "s|$build||g")
      printf '%s %s\n' "$(printf '%s' "$common$key$flags" | sha256sum | cut -c1-64)" "$unit"
    done
}

tidy_one() {
  local key=$1 unit=$2 output checks=
  shift 2
  [[ $lean == yes ]] && checks+=',-clang-analyzer-*,-bugprone-reserved-identifier,-bugprone-stringview-nullptr' &&
    checks+=',-bugprone-suspicious-semicolon,-bugprone-multiple-statement-macro,-bugprone-sizeof-expression'
  # A unity build's file includes sources: that is what it is for.
  [[ $unit == */Unity/unity_* ]] && checks+=',-bugprone-suspicious-include'
  if output=$(clang-tidy-14 "$@" "--checks=$checks" "$unit" 2>/dev/null); then
    : >"$cache/$key"
  else
    printf '%s\n%s\n' "${unit#"$root"/}" "${output:-clang-tidy failed without a word}"
    printf '%s\n' "$unit" >>"$cache/failed"
  fi
}
export -f tidy_one

check_tidy() {
  mkdir -p "$cache"
  : >"$cache/failed"
  tidy_keys >"$cache/keys"
  local todo=() key unit total=0
  while read -r key unit; do
    total=$((total + 1))
    [[ -e $cache/$key ]] || todo+=("$key" "$unit")
  done <"$cache/keys"
  # A source that no build rule compiles is linted by nobody: say so.
  local unbuilt
  unbuilt=$(sort -u "$cache/covered" | comm -13 - <(sort "$cache/wanted"))
  [[ -z $unbuilt ]] || printf 'clang-tidy: not compiled in this tree, so not linted: %s\n' "${unbuilt//$'\n'/ }"
  if ((${#todo[@]})); then
    printf '%s\n' "${todo[@]}" |
      xargs -d '\n' -n 2 -P "$(nproc)" bash -c 'tidy_one "${@: -2}" "${@:1:$#-2}"' _ "${tidy_flags[@]}" || true
  fi
  find "$cache" -type f -mtime +30 -delete
  local failed
  failed=$(wc -l <"$cache/failed")
  printf 'clang-tidy%s: %d sources in %d translation units, %d of these known clean from before, %d with offences\n' \
    "$([[ $lean == yes ]] && echo ' (lean)')" "$(sort -u "$cache/covered" | wc -l)" "$total" \
    "$((total - ${#todo[@]} / 2))" "$failed"
  ((total > 0 && failed == 0))
}

status=0
if [[ $format == yes ]]; then check_format || status=1; fi
if [[ $tidy == yes ]]; then check_tidy || status=1; fi
exit $status
