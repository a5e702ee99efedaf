#!/usr/bin/env bash
# Does every source and every header compile alone? The build compiles a room as one file, which hides a missing #include.
#
#   tests/style/alone.sh [--lean] [--build DIR]      default: build/release, configured; nothing of it need be built
#
#   --lean   without the tests' own sources: half the time, for CI. tests/soak.sh has the whole
#
# A source is read by clang with the flags that the build gives it, as a header is: names and types are looked up, and
# what is left to instantiate at the end is not. A header stands alone where the source of its name includes it first; the
# others are read by themselves. What passed is remembered in build/alone-cache, under a hash of the flags and of every
# file of the project that is included.
#
# The libraries that take longest to read are precompiled for the files that include them, and so are, for each folder,
# the headers that most of its files include, for the files that include them all: at whatever place. So a file that uses
# something before it includes it would pass; the build itself sees to that for the first file of a room.
# The last line is a summary; exit status 1 when a file does not compile alone.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=$root/build/release
lean=no
while (($#)); do
  case $1 in
    --lean) lean=yes ;;
    --build)
      build=$2
      shift
      ;;
    *)
      printf 'alone: unknown option %s\n' "$1" >&2
      exit 2
      ;;
  esac
  shift
done
cd "$root"
cache=$root/build/alone-cache
work=$(mktemp -d "${TMPDIR:-/tmp}/alone.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$cache"
[[ -e $build/compile_commands.json ]] || {
  printf 'alone: %s is not configured (harness/setup.sh --tests)\n' "$build" >&2
  exit 3
}

# What the heavy ones are, by the words that include them.
json='nlohmann/json.hpp'
fmt='fmt/format.h'
gmock='gmock/gmock.h'

git -c safe.directory='*' ls-files -- 'harness/**' 'tests/**' 'guest-images/**' | grep -E '\.(cpp|h|c|def)$' |
  grep -v '^tests/style/planted/' | while read -r file; do [[ -f $file ]] && echo "$file"; done >"$work/files"
xargs -d '\n' sha256sum <"$work/files" >"$work/hashes"

# "SOURCE TAB FLAGS", a source of a unity build with the flags of its room.
awk -v root="$root/" '
  function emit(source) {
    if (index(source, root) != 1 || source in done) return
    done[source]
    print substr(source, length(root) + 1) "\t" flags
  }
  /^ *"command": / {
    flags = $0
    sub(/^ *"command": "/, "", flags); sub(/",?$/, "", flags)
    gsub(/\\"/, "\"", flags); gsub(/\\\\/, "\\", flags)
    sub(/^.*ccache /, "", flags)
    sub(/ -o .*$/, "", flags)
  }
  /^ *"file": / {
    file = $0
    sub(/^ *"file": "/, "", file); sub(/",?$/, "", file)
    if (file ~ /\/Unity\/unity_/) {
      while ((getline line < file) > 0) {
        if (line !~ /^#include "/) continue
        sub(/^#include "/, "", line); sub(/".*$/, "", line)
        emit(line)
      }
      close(file)
    } else emit(file)
  }' "$build/compile_commands.json" >"$work/flags"

# "KEY TAB KIND TAB FILE TAB FLAGS" for what is to be compiled. KIND: the precompiled header it can take, or none.
# $work/shared becomes "KIND TAB KIND IT STANDS ON TAB FLAGS" for each folder's own, $work/KIND.h what it includes.
awk -F'\t' -v json="$json" -v fmt="$fmt" -v gmock="$gmock" -v lean="$lean" -v files="$work/files" -v hashes="$work/hashes" \
  -v work="$work" -v root="$root/" '
  function folder(path) { sub(/\/[^\/]*$/, "", path); return path }
  function find(from, name,   near) {
    near = folder(from) "/" name
    if (near in known) return near
    if (("harness/" name) in known) return "harness/" name
    if (("guest-images/agent/" name) in known) return "guest-images/agent/" name
    return ""
  }
  # Everything of the project that FILE includes, into seen; names of system headers into system_of.
  function walk(file,   n, i, parts) {
    if (file in seen) return
    seen[file]
    n = split(includes[file], parts, " ")
    for (i = 1; i <= n; ++i) walk(parts[i])
    n = split(systems[file], parts, " ")
    for (i = 1; i <= n; ++i) used[parts[i]]
  }
  BEGIN {
    while ((getline path < files) > 0) known[path]
    while ((getline line < hashes) > 0) hash[substr(line, 67)] = substr(line, 1, 64)
    for (path in known) {
      while ((getline line < path) > 0) {
        if (line ~ /^#define /) configures[path]
        if (line ~ /^#include </) {
          sub(/^#include </, "", line); sub(/>.*$/, "", line)
          systems[path] = systems[path] line " "
          if (path in configures) configured[line]  # it may read otherwise elsewhere
        } else if (line ~ /^#include "/) {
          sub(/^#include "/, "", line); sub(/".*$/, "", line)
          target = find(path, line)
          if (target == "") continue
          if (!(path in first)) first[path] = target
          includes[path] = includes[path] target " "
        }
      }
      close(path)
    }
  }
  { flags_of[$1] = $2; if (!(folder($1) in flags_in)) flags_in[folder($1)] = $2 }
  # Its macros must be those of the library as it was precompiled.
  function libraries(used, flags) {
    if (!(json in used)) return "none"
    return "json" (fmt in used && flags ~ /-DFMT_SHARED/ ? "-fmt" : "") (gmock in used ? "-gmock" : "")
  }
  function plan(file, flags,   path, place) {
    split("", seen); split("", used)
    walk(file)
    delete seen[file]
    place = folder(file)
    planned[file] = flags
    ++files_of[place]
    for (path in known) if (path in seen) {
      key_of[file] = key_of[file] hash[path]
      if (path ~ /\.h$/) ++users[place, path]
    }
    key_of[file] = key_of[file] hash[file]
    for (path in used) if (!(path in configured)) ++users[place, "<" path ">"]
    kind_of[file] = libraries(used, flags)
    for (path in seen) includes_of[file] = includes_of[file] path " "
    for (path in used) includes_of[file] = includes_of[file] "<" path "> "
  }
  # What two thirds of a folder include, precompiled, if that is enough to be worth it.
  function share(place,   pair, parts, header, flags, kind, output) {
    if (files_of[place] < 4) return
    split("", used)
    for (pair in users) {
      split(pair, parts, SUBSEP)
      if (parts[1] != place || users[pair] < files_of[place] * 2 / 3) continue
      shared[place] = shared[place] parts[2] " "
      if (parts[2] ~ /^</) used[substr(parts[2], 2, length(parts[2]) - 2)]
    }
    if (shared[place] == "") return
    flags = flags_in[place]
    kind = place
    gsub(/\//, "-", kind)
    output = work "/" kind ".h"
    for (header in used) print "#include <" header ">" >output
    split(shared[place], parts, " ")
    for (pair in parts) if (parts[pair] !~ /^</) print "#include \"" root parts[pair] "\"" >output
    close(output)
    kind_of_folder[place] = kind
    print kind "\t" libraries(used, flags) "\t" flags >(work "/shared")
  }
  function takes(file, place,   parts, n, i) {
    if (!(place in kind_of_folder) || planned[file] != flags_in[place]) return 0
    n = split(shared[place], parts, " ")
    for (i = 1; i <= n; ++i) if (index(" " includes_of[file], " " parts[i] " ") == 0) return 0
    return 1
  }
  END {
    for (path in flags_of) if (path in known && !(lean == "yes" && path ~ /^tests\//)) plan(path, flags_of[path])
    for (path in known) {
      if (path !~ /\.h$/) continue
      twin = path; sub(/\.h$/, ".cpp", twin)
      if (twin in flags_of && first[twin] == path) continue
      twin = path; sub(/\.h$/, ".c", twin)
      if (twin in known && first[twin] == path) continue
      flags = flags_in[folder(path)]
      if (flags == "") flags = flags_in["tests/engine"]
      plan(path, flags)
    }
    for (path in files_of) if (path in flags_in) share(path)
    for (path in planned)
      print key_of[path] "\t" (takes(path, folder(path)) ? kind_of_folder[folder(path)] : kind_of[path]) "\t" path "\t" planned[path]
  }' "$work/flags" >"$work/plan"

# A source that no target compiles would be judged by nobody.
cut -f3 "$work/plan" | sort >"$work/planned"
scope='^'
[[ $lean == yes ]] && scope='^(harness|guest-images)/'
unbuilt=$(grep -E '\.(cpp|c)$' "$work/files" | grep -E "$scope" | sort | comm -23 - "$work/planned")
[[ -z $unbuilt ]] || printf 'alone: no target compiles %s\n' $unbuilt

kinds=(json json-fmt json-gmock json-fmt-gmock)
for kind in "${kinds[@]}"; do
  {
    printf '#include <%s>\n#include <tl/expected.hpp>\n' "$json"
    [[ $kind != *-fmt* ]] || printf '#include <%s>\n' "$fmt"
    [[ $kind != *-gmock* ]] || printf '#include <gtest/gtest.h>\n#include <%s>\n' "$gmock"
  } >"$work/$kind.h"
done
: >"$work/failed"
[[ -e $work/shared ]] || : >"$work/shared"
precompile() {
  clang++-14 -std=c++20 -O0 -w -DFMT_SHARED -x c++-header -fno-pch-instantiate-templates "$work/$1.h" -o "$work/$1.pch"
}

# precompile_shared KIND BASE FLAGS: a folder's own, on that of the libraries.
precompile_shared() {
  local command=()
  eval "command=($3)"
  command=(clang++-14 "${command[@]:1}" -O0 -g0 -w -x c++-header -fno-pch-instantiate-templates)
  [[ $2 == none ]] || command+=(-include-pch "$work/$2.pch")
  "${command[@]}" "$work/$1.h" -o "$work/$1.pch" 2>/dev/null || true
}

# Without what changes nothing about the syntax; the precompiled headers were made at -O0.
compile_one() {
  local key=$1 kind=$2 file=$3 flags=$4 output
  # The flags are CMake's own, quoted for a shell; the first is GCC's name.
  local command=() compiler=clang++-14 as=(-x c++)
  # A folder's headers that do not compile are no set; each of them, and each file, is read by itself then.
  if [[ $flags == *'/cc '* ]]; then
    compiler=clang-14 as=(-x c -fsyntax-only)
  elif [[ -e $work/$kind.pch ]]; then
    as=(-x c++-header -fno-pch-instantiate-templates -o /dev/null -include-pch "$work/$kind.pch")
  else
    as+=(-fsyntax-only)  # writing down what the libraries say takes longer than the instantiations left to the end
  fi
  eval "command=($flags)"
  command=("$compiler" "${command[@]:1}" -O0 -g0 -w "${as[@]}" "$file")
  if output=$("${command[@]}" 2>&1); then
    : >"$cache/$key"
  else
    printf '%s does not compile alone:\n%s\n' "$file" "$(head -n 8 <<<"$output")"
    printf '%s\n' "$file" >>"$work/failed"
  fi
}
export -f precompile precompile_shared compile_one
export work cache

total=0 todo=()
while IFS=$'\t' read -r key kind file flags; do
  total=$((total + 1))
  key=$(printf '%s' "$key$file${flags//$build/}" | sha256sum | cut -c1-64)
  [[ -e $cache/$key ]] || todo+=("$key" "$kind" "$file" "$flags")
done <"$work/plan"
if ((${#todo[@]})); then
  printf '%s\n' "${kinds[@]}" | xargs -n 1 -P "$(nproc)" bash -c 'precompile "$1"' _
  tr '\t\n' '\0\0' <"$work/shared" | xargs -0 -r -n 3 -P "$(nproc)" bash -c 'precompile_shared "$@"' _
  printf '%s\0' "${todo[@]}" | xargs -0 -n 4 -P "$(nproc)" bash -c 'compile_one "$@"' _ || true
fi
find "$cache" -type f -mtime +30 -delete
failed=$(wc -l <"$work/failed")
printf 'compiled alone: %d sources and headers, %d of these known from before, %d that do not\n' "$total" \
  "$((total - ${#todo[@]} / 4))" "$failed"
((total > 0 && failed == 0)) && [[ -z $unbuilt ]]
