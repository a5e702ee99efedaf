#!/usr/bin/env bash
# Installs what is missing of harness/packages.txt, then configures and builds.
#
#   harness/setup.sh [--tests] [--sanitize WHAT] [--packages-only] [--target NAME]...
#
#   --tests          also the packages only the tests need
#   --sanitize WHAT  instead of build/release: address is build/asan (AddressSanitizer, UndefinedBehaviorSanitizer),
#                    thread is build/tsan (ThreadSanitizer); both by clang, not optimised: a third of the time
#   --packages-only  no build
#   --target NAME    build only this target (may be given again); default: everything
#
# Idempotent, from any directory. With nothing missing neither apt nor sudo is called.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
groups='build run'
build=$root/build/release
cmake_flags=(-DMIGSOAK_SANITIZE=OFF)
packages_only=no
targets=()

say() { printf 'setup: %s\n' "$*" >&2; }
die() {
  say "$*"
  exit 3
}

while (($#)); do
  case $1 in
    --tests) groups='build run tests' ;;
    --sanitize)
      case ${2:-} in
        address) build=$root/build/asan ;;
        thread) build=$root/build/tsan ;;
        *) say '--sanitize needs a word: address or thread'; exit 2 ;;
      esac
      cmake_flags=("-DMIGSOAK_SANITIZE=$2" -DCMAKE_C_COMPILER=clang-14 -DCMAKE_CXX_COMPILER=clang++-14)
      groups='build run tests'  # clang is one of the tests' packages
      # CMake forgets what it was told when the compiler of a tree changes.
      grep -qs '^CMAKE_CXX_COMPILER:.*clang++-14$' "$build/CMakeCache.txt" || rm -rf "$build"
      shift
      ;;
    --packages-only) packages_only=yes ;;
    --target)
      [[ $# -ge 2 ]] || { say '--target needs a name'; exit 2; }
      targets+=("$2")
      shift
      ;;
    -h | --help)
      sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
      exit 0
      ;;
    *)
      say "unknown option '$1' (try --help)"
      exit 2
      ;;
  esac
  shift
done

# Names of the wanted groups, one entry per line: NAME or NAME|NAME, one of which will do.
wanted_packages() {
  awk -v wanted=" $groups " '
    /^[[:space:]]*(#|$)/ { next }
    /^\[/ { gsub(/[][]/, ""); on = index(wanted, " " $1 " "); next }
    on { print $1 }' "$root/harness/packages.txt"
}

# "install ok installed", or "hold ok installed" for a pinned one.
is_installed() { dpkg-query -W -f='${Status}' "$1" 2>/dev/null | grep -q ' ok installed$'; }

# Of an entry with several names the first that apt knows, else the first.
missing_packages() {
  local entry package names found
  for entry in $(wanted_packages); do
    IFS='|' read -ra names <<<"$entry"
    found=
    for package in "${names[@]}"; do is_installed "$package" && found=installed; done
    [[ -z $found ]] || continue
    for package in "${names[@]}"; do
      if ((${#names[@]} > 1)) && apt_knows "$package"; then
        found=$package
        break
      fi
    done
    printf '%s\n' "${found:-${names[0]}}"
  done
}

# Fills `apt`: apt-get as root. Fails with a reason in `no_apt`.
apt=() no_apt=
find_apt() {
  local as_root=(env)
  if ! command -v apt-get >/dev/null; then
    no_apt='no apt-get here'
    return 1
  fi
  if ((EUID != 0)); then
    if ! command -v sudo >/dev/null; then
      no_apt='neither root nor sudo'
      return 1
    fi
    as_root=(sudo)
    # Without a terminal nobody can type a password: fail with a line instead of waiting.
    [[ -t 0 ]] || as_root+=(-n)
    as_root+=(env)
  fi
  apt=("${as_root[@]}" DEBIAN_FRONTEND=noninteractive apt-get -q -y
    -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o APT::Install-Recommends=false)
  mkdir -p "$root/build"
}

install_missing() {
  local missing log=$root/build/setup-packages.log
  command -v dpkg-query >/dev/null ||
    die "this is not a Debian system (no dpkg): install the packages of harness/packages.txt by your own means"
  mapfile -t missing < <(missing_packages)
  ((${#missing[@]})) || return 0
  find_apt || die "$no_apt; as root: apt-get install --no-install-recommends ${missing[*]}"
  say "installing ${#missing[@]} missing packages (apt's output: $log): ${missing[*]}"
  : >"$log"
  # An index that knows every name may still be stale (404 on download), hence the second try.
  if ! apt_knows "${missing[@]}" || ! "${apt[@]}" install "${missing[@]}" </dev/null >>"$log" 2>&1; then
    "${apt[@]}" update </dev/null >>"$log" 2>&1 || apt_failed "$log" 'apt-get update failed'
    mapfile -t missing < <(missing_packages)
    apt_knows "${missing[@]}" || die "apt does not know: $(unknown_to_apt "${missing[@]}")
setup: migsoak is made for Debian 12 (bookworm); this is $(sed -n 's/^PRETTY_NAME=//p' /etc/os-release)"
    "${apt[@]}" install "${missing[@]}" </dev/null >>"$log" 2>&1 || apt_failed "$log" 'apt-get install failed'
  fi
}

# The guest's kernel comes out of a package that is downloaded, not installed (guest-images/fetch_kernel.sh), so the
# index must be there and fresh even where nothing is missing: images of CI systems ship without one.
refresh_index_for_kernel() {
  local cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/migsoak/kernel
  compgen -G "$cache/*/package" >/dev/null && return 0
  if apt_knows linux-image-cloud-amd64 && [[ -n $(find /var/lib/apt/lists -maxdepth 0 -mtime -1) ]]; then
    return 0
  fi
  find_apt || return 0
  say 'refreshing the package index, for the guest kernel'
  # Not fatal: an older index may still do, and fetch_kernel.sh says what is wrong when it does not.
  "${apt[@]}" update </dev/null >"$root/build/setup-packages.log" 2>&1 || say 'apt-get update failed; going on with the old index'
}

unknown_to_apt() {
  local package
  for package in "$@"; do
    # A name that others only mention has no candidate; `apt-cache show` knows it all the same.
    [[ $(LC_ALL=C apt-cache policy "$package" 2>/dev/null) =~ 'Candidate: '[^\(] ]] || printf '%s ' "$package"
  done
}
apt_knows() { [[ -z $(unknown_to_apt "$@") ]]; }

apt_failed() {
  tail -n 20 "$1" >&2
  die "$2; the whole output: $1"
}

configure_and_build() {
  mkdir -p "$build"
  local log=$build/configure.log
  # A configure that changes nothing costs a second; a removed file or a new option is seen.
  cmake -S "$root" -B "$build" -G Ninja "${cmake_flags[@]}" >"$log" 2>&1 || {
    tail -n 40 "$log" >&2
    die "cmake failed; the whole output: $log"
  }
  local arguments=(-C "$build" -j "$(nproc)")
  # Off a terminal only failures: a log of a thousand "Building" lines hides the one that matters.
  [[ -t 2 ]] || arguments+=(--quiet)
  say "building $build (${targets[*]:-everything})"
  ninja "${arguments[@]}" "${targets[@]}" >&2 || die "the build failed: ninja -C $build ${targets[*]}"
}

install_missing
[[ $packages_only == yes ]] || refresh_index_for_kernel
[[ $packages_only == yes ]] && exit 0
configure_and_build
