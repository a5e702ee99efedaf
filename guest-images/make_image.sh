#!/usr/bin/env bash
# make_image.sh AGENT OUT_DIR: vmlinuz, initramfs.cpio and image.json in OUT_DIR, from the agent and the cached kernel.
# Same agent and same kernel: same bytes. No time, user, inode or path of the building machine gets in.
set -euo pipefail
export LC_ALL=C

agent=$1
out=$2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
kernel=$("$here/fetch_kernel.sh")

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
mkdir -p "$root/lib/modules"
install -m 0755 "$agent" "$root/init"

# depmod's work by hand: the package has no modules.dep, and kmod may not be installed. Each module names what it needs
# in its .modinfo section; a module is written after those.
declare -A placed
place() {
  local module=$1 file=$kernel/modules/$1.ko dependency
  [[ -n ${placed[$module]:-} ]] && return
  placed[$module]=1
  [[ -f $file ]] || { echo "make_image: no module $module in $kernel/modules" >&2; exit 1; }
  objcopy -O binary --only-section=.modinfo "$file" "$work/modinfo"
  for dependency in $(tr '\0' '\n' <"$work/modinfo" | sed -n 's/^depends=//p' | tr ',' ' '); do
    place "$dependency"
  done
  install -m 0644 "$file" "$root/lib/modules/$module.ko"
  echo "$module.ko" >>"$root/lib/modules/order"
}
: >"$root/lib/modules/order"
while read -r module; do
  place "$module"
done < <(sed 's/#.*//; /^[[:space:]]*$/d' "$here/modules.list")

find "$root" -exec touch -h -d @0 {} +
find "$root" -type d -exec chmod 0755 {} +
chmod 0644 "$root/lib/modules/order"
mkdir -p "$out"
# Not compressed: it is small, and unpacking under emulation costs more than reading.
(cd "$root" && find . -mindepth 1 -printf '%P\n' | sort |
  cpio --quiet --create --format=newc --reproducible --owner=0:0 >"$work/initramfs.cpio")

cp "$kernel/vmlinuz" "$work/vmlinuz"
cat >"$work/image.json" <<JSON
{
  "kernel": "vmlinuz",
  "initramfs": "initramfs.cpio",
  "kernel_version": "$(cat "$kernel/release")",
  "kernel_package": "$(cat "$kernel/package")",
  "content_hash": "$(sha256sum <"$work/initramfs.cpio" | cut -c1-32)"
}
JSON
chmod 0644 "$work"/{vmlinuz,initramfs.cpio,image.json}
# image.json last: whoever sees it sees the rest.
mv -f "$work/vmlinuz" "$work/initramfs.cpio" "$out/"
mv -f "$work/image.json" "$out/"
