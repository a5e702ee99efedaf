#!/usr/bin/env bash
# reproducible.sh WORK_DIR: builds the guest image twice, from two copies of its sources with other paths, times and
# umasks, and compares the results byte for byte.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$1
rm -rf "$work"
mkdir -p "$work"

build() {
  local name=$1 mask=$2
  (
    umask "$mask"
    mkdir -p "$work/$name"
    cp -r "$here" "$work/$name/sources"
    find "$work/$name/sources" -exec touch -d "$3" {} +
    # No compiler cache: it would compare a file with itself.
    CCACHE_DISABLE=1 cmake -S "$work/$name/sources" -B "$work/$name/build" >/dev/null
    CCACHE_DISABLE=1 cmake --build "$work/$name/build" >/dev/null
  )
}

build first 0022 2020-02-02
build the-second-one 0077 2021-03-04
for file in vmlinuz initramfs.cpio image.json; do
  cmp "$work/first/build/$file" "$work/the-second-one/build/$file"
done
echo "reproducible: $(sha256sum <"$work/first/build/initramfs.cpio" | cut -c1-16) initramfs.cpio, twice"
rm -rf "$work"
