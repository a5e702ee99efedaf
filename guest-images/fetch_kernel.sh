#!/usr/bin/env bash
# fetch_kernel.sh: puts Debian's cloud kernel into the user's cache, without installing it, and prints its directory:
#   <cache>/migsoak/kernel/<version>.<set>/{vmlinuz,modules/*.ko,package,release}
# The version is the one apt would install. Without a network (or without package lists) the newest cached one serves.
set -euo pipefail

cache="${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/migsoak/kernel"
mkdir -p "$cache"
# Which modules are kept. Another selection has another number, so that what an older script left is not taken for it.
selection=m2

package=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | awk '$1 == "Depends:" && $2 ~ /^linux-image-/ {print $2; exit}')
version=""
if [[ -n $package ]]; then
  version=$(apt-cache show --no-all-versions "$package" 2>/dev/null | awk '$1 == "Version:" {print $2; exit}')
fi

if [[ -n $version && -f $cache/$version.$selection/package ]]; then
  echo "$cache/$version.$selection"
  exit 0
fi

fetch() {
  local work
  work=$(mktemp -d "$cache/.fetch.XXXXXX")
  trap 'rm -rf "$work"' RETURN
  # Root's apt would drop to a user that can't write here.
  (cd "$work" && apt-get -q -o APT::Sandbox::User=root -o Acquire::Retries=2 download "$package=$version") >&2 || return 1
  dpkg -x "$work"/*.deb "$work/tree" || return 1
  local release=${package#linux-image-}
  local ready=$work/ready
  mkdir -p "$ready/modules"
  cp "$work/tree/boot/vmlinuz-$release" "$ready/vmlinuz" || return 1
  # Debian 13 has them in /usr, each compressed.
  local modules=$work/tree/lib/modules/$release
  [[ -d $modules ]] || modules=$work/tree/usr/lib/modules/$release
  # All virtio drivers: few and small, so that another device needs no other download.
  local module
  for module in 'virtio*' failover net_failover scsi_mod scsi_common sd_mod; do
    find "$modules" \( -name "$module.ko" -o -name "$module.ko.xz" \) -exec cp {} "$ready/modules/" \; || return 1
  done
  if compgen -G "$ready/modules/*.xz" >/dev/null; then
    xz --decompress "$ready"/modules/*.xz || return 1
  fi
  # What is no module there.
  cp "$modules/modules.builtin" "$ready/builtin" 2>/dev/null || : >"$ready/builtin"
  echo "$release" >"$ready/release"
  echo "$package $version" >"$ready/package"
  chmod -R u=rwX,go=rX "$ready"
  # Another build may have been quicker: the same content, so the loser gives way.
  mv -T "$ready" "$cache/$version.$selection" 2>/dev/null || [[ -f $cache/$version.$selection/package ]]
}

if [[ -n $version ]] && fetch; then
  echo "$cache/$version.$selection"
  exit 0
fi

newest=$(find "$cache" -mindepth 2 -maxdepth 2 -path "*.$selection/package" -printf '%h\n' 2>/dev/null |
  sort -V | tail -n 1)
if [[ -n $newest ]]; then
  echo "fetch_kernel: ${version:-the current kernel} can't be had now; using the cached $(cat "$newest/package")" >&2
  echo "$newest"
  exit 0
fi
echo "fetch_kernel: no kernel: neither cached in $cache nor downloadable. Run \`apt-get update\` (as root) and build again." >&2
exit 1
