#!/usr/bin/env bash
# clang-format and clang-tidy over the repository's C and C++ files.
#
#   tests/style/lint.sh [--format] [--tidy] [--lean] [--build DIR]      default: both, on build/release
#
#   --lean   tidy without clang-analyzer, without checks that cost much and find next to nothing, and without the tests' own
#            sources: half the time, for CI
#
# Most of the time goes into the libraries' headers, so the rooms are read several at a time, as one file each time.
# What passed is remembered in build/tidy-cache, under a hash of the files, every header of the project they include (as
# ninja recorded them), .clang-tidy, the flags and clang-tidy's version.
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
tidy_flags=(--quiet --extra-arg=-Wno-unknown-warning-option)
export root build cache lean

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
  local key=$1 unit=$2 output checks= database=$build room
  shift 2
  [[ $lean == yes ]] && checks+=',-clang-analyzer-*,-bugprone-reserved-identifier,-bugprone-stringview-nullptr' &&
    checks+=',-bugprone-suspicious-semicolon,-bugprone-multiple-statement-macro,-bugprone-sizeof-expression'
  # These include sources: that is what they are for.
  [[ $unit == */Unity/unity_* || $unit == "$cache"/groups/* ]] && checks+=',-bugprone-suspicious-include'
  [[ $unit != "$cache"/groups/* ]] || database=$cache/groups
  if output=$(clang-tidy-14 "$@" -p "$database" "--checks=$checks" "$unit" 2>/dev/null); then
    : >"$cache/$key"
  elif [[ $unit == "$cache"/groups/* && $output == *clang-diagnostic-error* ]]; then
    printf 'clang-tidy: these rooms do not compile as one file, so each is read by itself: %s\n' \
      "$(sed -nE 's|.*/CMakeFiles/([^/]*)\.dir/.*|\1|p' "$unit" | tr '\n' ' ')"
    while read -r room; do
      tidy_one "$key.$(basename "$(dirname "$(dirname "$room")")")" "$room" "$@"
    done < <(sed -n 's/^#include "\(.*\)"$/\1/p' "$unit")
  else
    printf '%s\n%s\n' "${unit#"$root"/}" "${output:-clang-tidy failed without a word}"
    printf '%s\n' "$unit" >>"$cache/failed"
  fi
}
export -f tidy_one

# Of "KEY UNIT" lines, a room's files are put together: "KEY GROUP" for each group, and what there is no use to group as it
# was. Each room has a namespace of its own, so they don't disturb each other, and their flags differ in definitions
# that no other room looks at. $cache/groups becomes the folder of the groups and of their compile commands.
groups=4
group_units() {
  rm -rf "$cache/groups"
  mkdir -p "$cache/groups"
  # The largest first, each into the smallest group so far.
  while read -r key unit; do
    if [[ $unit == "$build"/harness/*/Unity/unity_* ]]; then
      printf '%d %s %s\n' "$(sed -n 's/^#include "\(.*\)"$/\1/p' "$unit" | xargs -d '\n' cat | wc -c)" "$key" "$unit"
    else
      printf '%s %s\n' "$key" "$unit" >&3
    fi
  done 3>"$cache/single" | sort -rn | awk -v groups="$groups" -v folder="$cache/groups" '{
      for (best = i = 1; i <= groups; ++i) if (size[i] < size[best]) best = i
      size[best] += $1
      print $2 >(folder "/" best ".keys")
      print "#include \"" $3 "\"" >(folder "/" best ".cpp")
    }'
  local source keys flags
  for source in "$cache"/groups/*.cpp; do
    [[ -e $source ]] || continue
    # The definitions and folders of all.
    flags=$(sed -n 's/^#include "\(.*\)"$/\1/p' "$source" | while read -r unit; do
      grep -m1 -F "\"file\": \"$unit\"" -B1 "$build/compile_commands.json" | sed -n 's/.*"command": //p'
    done | grep -oE ' -(D|I|isystem |std=|W)[^ ]+' | awk '!seen[$0]++' | tr -d '\n')
    printf '{"directory": "%s", "file": "%s", "command": "c++%s -c %s"}\n' "$build" "$source" "$flags" "$source"
    keys=$(cat "${source%.cpp}.keys")
    printf '%s %s\n' "$(printf '%s' "$keys$flags" | sha256sum | cut -c1-64)" "$source" >>"$cache/single"
  done | sed '1s/^/[/; $!s/$/,/; $s/$/]/' >"$cache/groups/compile_commands.json"
  cat "$cache/single"
}

check_tidy() {
  mkdir -p "$cache"
  : >"$cache/failed"
  tidy_keys | group_units >"$cache/keys"
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
