// disk_stale_read: a read returns what used to be there.
//
// A cache that was not invalidated when the other side wrote: each QEMU on its own page cache, or a target with two.
// Before a write the old content of the first FAULT_BLOCKS blocks (that held anything) is kept; reads that come to one
// of them and would see something else get the old content.
//
//   FAULT_BLOCKS   how many blocks of 4 KiB are kept (default 64)
//   FAULT_EVERY (default 1), FAULT_AT, FAULT_LIMIT, FAULT_STATE: which of these reads
//   FAULT_SIZE_MIN (disk_io.h)
#include <pthread.h>
#include <string.h>

#include "disk_io.h"

enum { kBlockBytes = 4096, kBlocksMax = 1024 };

struct old_block {
  ino_t image;
  uint64_t number;
  uint8_t data[kBlockBytes];
};
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct old_block* old[kBlocksMax];
static size_t old_count;

static struct old_block* find(ino_t image, uint64_t number) {
  for (size_t i = 0; i < old_count; ++i) {
    if (old[i]->image == image && old[i]->number == number) return old[i];
  }
  return NULL;
}

static void keep(const struct disk_request* write, uint64_t number) {
  static _Alignas(kBlockBytes) uint8_t data[kBlockBytes];
  static const uint8_t nothing[kBlockBytes];
  if (find(write->image.st_ino, number) != NULL) return;
  if (disk_pread(write->fd, data, kBlockBytes, number * kBlockBytes) != kBlockBytes) return;
  if (memcmp(data, nothing, kBlockBytes) == 0) return;
  struct old_block* block = malloc(sizeof *block);
  if (block == NULL) return;
  block->image = write->image.st_ino;
  block->number = number;
  memcpy(block->data, data, kBlockBytes);
  old[old_count++] = block;
}

bool damage_write(const struct disk_request* write) {
  uint64_t blocks_max = fault_number("FAULT_BLOCKS", 64);
  if (blocks_max > kBlocksMax) blocks_max = kBlocksMax;
  const uint64_t end = write->offset + write->bytes;
  pthread_mutex_lock(&lock);
  for (uint64_t number = write->offset / kBlockBytes; number * kBlockBytes < end && old_count < blocks_max; ++number) {
    keep(write, number);
  }
  pthread_mutex_unlock(&lock);
  return false;
}

// Puts the part of `block` that lies in [offset, offset + size) into `data`; only counts as a read when it differs.
static void serve_old(const struct old_block* block, uint64_t offset, uint8_t* data, size_t size) {
  const uint64_t start = block->number * kBlockBytes;
  const uint64_t from = start > offset ? start : offset;
  const uint64_t to = start + kBlockBytes < offset + size ? start + kBlockBytes : offset + size;
  uint8_t* at = data + (from - offset);
  const uint8_t* was = block->data + (from - start);
  if (memcmp(at, was, to - from) != 0 && fault_due(fault_count_event())) memcpy(at, was, to - from);
}

void damage_read(const struct disk_request* read) {
  uint64_t offset = read->offset;
  size_t left = read->bytes;
  pthread_mutex_lock(&lock);
  for (const struct iovec* part = read->iov; left > 0 && old_count > 0; ++part) {
    const size_t size = part->iov_len < left ? part->iov_len : left;
    for (uint64_t number = offset / kBlockBytes; number * kBlockBytes < offset + size; ++number) {
      const struct old_block* block = find(read->image.st_ino, number);
      if (block != NULL) serve_old(block, offset, part->iov_base, size);
    }
    offset += size;
    left -= size;
  }
  pthread_mutex_unlock(&lock);
}
