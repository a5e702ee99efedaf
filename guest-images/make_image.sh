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
# in its .modinfo section, and which devices it drives. The agent loads what `order` names at boot, and of `on-demand`
# (<alias> <modules in order>) the lines whose device is there or appears later.
modinfo() {
  objcopy -O binary --only-section=.modinfo "$1" "$work/modinfo"
  tr '\0' '\n' <"$work/modinfo"
}
is_built_in() { [[ ! -f $kernel/modules/$1.ko ]] && grep -qs "/$1\.ko$" "$kernel/builtin"; }
# The module after all that it depends on, one a line. Nothing for what the kernel has built in.
with_dependencies() {
  local file=$kernel/modules/$1.ko dependency
  is_built_in "$1" && return 0
  [[ -f $file ]] || { echo "make_image: no module $1 in $kernel/modules" >&2; exit 1; }
  for dependency in $(modinfo "$file" | sed -n 's/^depends=//p' | tr ',' ' '); do
    with_dependencies "$dependency"
  done
  echo "$1"
}
: >"$root/lib/modules/order"
: >"$root/lib/modules/on-demand"
while read -r module when; do
  is_built_in "$module" && continue
  files=$(with_dependencies "$module" | awk '!seen[$0]++')
  for file in $files; do
    install -m 0644 "$kernel/modules/$file.ko" "$root/lib/modules/$file.ko"
  done
  if [[ $when == boot ]]; then
    echo "$files" >>"$root/lib/modules/order"
  else
    for alias in $(set -f; modinfo "$kernel/modules/$module.ko" | sed -n 's/^alias=\(\(virtio\|scsi\):\)/\1/p'); do
      echo "$alias" $files >>"$root/lib/modules/on-demand"
    done
  fi
done < <(sed 's/#.*//; /^[[:space:]]*$/d' "$here/modules.list")
awk '!seen[$0]++' "$root/lib/modules/order" >"$work/order"
mv "$work/order" "$root/lib/modules/order"

find "$root" -exec touch -h -d @0 {} +
find "$root" -type d -exec chmod 0755 {} +
chmod 0644 "$root/lib/modules/order" "$root/lib/modules/on-demand"
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
