#!/usr/bin/env bash
# reproducible.sh WORK_DIR IMAGE_DIR: builds the guest image from a copy of its sources, with another path, other times and
# another umask than those of the build tree that made IMAGE_DIR, and compares the two byte for byte.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$1
image=$2
rm -rf "$work"
mkdir -p "$work"

(
  umask 0077
  cp -r "$here" "$work/sources"
  find "$work/sources" -exec touch -d 2021-03-04 {} +
  # No compiler cache: it would compare a file with itself.
  export CCACHE_DISABLE=1
  cmake -S "$work/sources" -B "$work/build" >/dev/null
  cmake --build "$work/build" >/dev/null
)

for file in vmlinuz initramfs.cpio image.json; do
  cmp "$image/$file" "$work/build/$file"
done
echo "reproducible: $(sha256sum <"$image/initramfs.cpio" | cut -c1-16) initramfs.cpio, twice"
rm -rf "$work"
