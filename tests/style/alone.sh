#!/usr/bin/env bash
# Does every source and every header compile alone? The build compiles a room as one file, which hides a missing #include.
#
#   tests/style/alone.sh [--build DIR]      default: build/release, configured; nothing of it need be built
#
# A source is compiled for its syntax with the flags that the build gives it. A header stands alone where the source of its
# name includes it first; the others are compiled as sources. What passed is remembered in build/alone-cache, under a hash
# of the flags and of every file of the project that is included.
#
# The two libraries that take longest to read are precompiled for the files that include them, at whatever place. So a
# file that uses one of them before it includes it would pass; the build itself sees to that for the first file of a room.
# The last line is a summary; exit status 1 when a file does not compile alone.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=$root/build/release
while (($#)); do
  case $1 in
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
awk -F'\t' -v json="$json" -v gmock="$gmock" -v files="$work/files" -v hashes="$work/hashes" '
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
        if (line ~ /^#include </) {
          sub(/^#include </, "", line); sub(/>.*$/, "", line)
          systems[path] = systems[path] line " "
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
  function plan(file, flags,   path, key, kind) {
    split("", seen); split("", used)
    walk(file)
    key = ""
    for (path in known) if (path in seen) key = key hash[path]
    kind = "none"
    if (json in used) kind = gmock in used ? "tests" : "json"
    print key "\t" kind "\t" file "\t" flags
  }
  END {
    for (path in flags_of) if (path in known) plan(path, flags_of[path])
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
  }' "$work/flags" >"$work/plan"

# A source that no target compiles would be judged by nobody.
cut -f3 "$work/plan" | sort >"$work/planned"
unbuilt=$(grep -E '\.(cpp|c)$' "$work/files" | sort | comm -23 - "$work/planned")
[[ -z $unbuilt ]] || printf 'alone: no target compiles %s\n' $unbuilt

printf '#include <%s>\n#include <tl/expected.hpp>\n' "$json" >"$work/json.h"
printf '#include <%s>\n#include <tl/expected.hpp>\n#include <gtest/gtest.h>\n#include <%s>\n' "$json" "$gmock" >"$work/tests.h"
: >"$work/none.h"
: >"$work/failed"
precompile() { g++ -std=c++20 -O0 -w -x c++-header "$work/$1.h" -o "$work/$1.h.gch"; }

# Without what changes nothing about the syntax; the precompiled headers were made at -O0.
compile_one() {
  local key=$1 kind=$2 file=$3 flags=$4 output
  local include=()
  [[ $kind == none ]] || include=(-include "$work/$kind.h")
  local command=()
  # The flags are CMake's own, quoted for a shell.
  eval "command=($flags)"
  command+=(-O0 -g0 -w -fsyntax-only "${include[@]}")
  if [[ $file == *.h && $flags != *'/cc '* ]]; then
    printf '#include "%s"\n' "$PWD/$file" >"$work/$key.cpp"
    command+=("$work/$key.cpp")
  else
    command+=("$file")
  fi
  if output=$("${command[@]}" 2>&1); then
    : >"$cache/$key"
  else
    printf '%s does not compile alone:\n%s\n' "$file" "$(head -n 8 <<<"$output")"
    printf '%s\n' "$file" >>"$work/failed"
  fi
}
export -f compile_one
export work cache

total=0 todo=()
while IFS=$'\t' read -r key kind file flags; do
  total=$((total + 1))
  key=$(printf '%s' "$key$file${flags//$build/}" | sha256sum | cut -c1-64)
  [[ -e $cache/$key ]] || todo+=("$key" "$kind" "$file" "$flags")
done <"$work/plan"
if ((${#todo[@]})); then
  precompile json &
  precompile tests
  wait
  printf '%s\0' "${todo[@]}" | xargs -0 -n 4 -P "$(nproc)" bash -c 'compile_one "$@"' _ || true
fi
find "$cache" -type f -mtime +30 -delete
failed=$(wc -l <"$work/failed")
printf 'compiled alone: %d sources and headers, %d of these known from before, %d that do not\n' "$total" \
  "$((total - ${#todo[@]} / 4))" "$failed"
((total > 0 && failed == 0)) && [[ -z $unbuilt ]]
