// disk_stale_read: reads return what used to be there.
//
// A cache that was not invalidated when the other side wrote: each QEMU on its own page cache, or a target with two.
// What the blocks of a chosen write held before it (when that was anything) is kept, and from then on served to every
// read of them, whatever is written there later. The image itself is right.
//
//   FAULT_EVERY (default 1), FAULT_AT, FAULT_LIMIT, FAULT_STATE: which overwriting writes of the image
//   FAULT_BLOCKS   how many blocks of 4 KiB are kept in all (default 64, at most 1024)
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

// The block as it is on the disk, in a buffer that serves O_DIRECT too; NULL when there is nothing in it.
static const uint8_t* present(const struct disk_request* write, uint64_t number) {
  static _Alignas(kBlockBytes) uint8_t data[kBlockBytes];
  static const uint8_t nothing[kBlockBytes];
  if (disk_pread(write->fd, data, kBlockBytes, number * kBlockBytes) != kBlockBytes) return NULL;
  return memcmp(data, nothing, kBlockBytes) == 0 ? NULL : data;
}

static void keep(const struct disk_request* write, uint64_t number) {
  if (find(write->image.st_ino, number) != NULL) return;
  const uint8_t* data = present(write, number);
  struct old_block* block = data != NULL ? malloc(sizeof *block) : NULL;
  if (block == NULL) return;
  block->image = write->image.st_ino;
  block->number = number;
  memcpy(block->data, data, kBlockBytes);
  old[old_count++] = block;
}

bool damage_write(const struct disk_request* write) {
  uint64_t blocks_max = fault_number("FAULT_BLOCKS", 64);
  if (blocks_max > kBlocksMax) blocks_max = kBlocksMax;
  const uint64_t first = write->offset / kBlockBytes;
  const uint64_t end = write->offset + write->bytes;
  pthread_mutex_lock(&lock);
  if (old_count < blocks_max && present(write, first) != NULL && fault_due(fault_count_event())) {
    for (uint64_t i = first; i * kBlockBytes < end && old_count < blocks_max; ++i) keep(write, i);
  }
  pthread_mutex_unlock(&lock);
  return false;
}

// Puts the part of `block` that lies in [offset, offset + size) into `data`.
static void serve(const struct old_block* block, uint64_t offset, uint8_t* data, size_t size) {
  const uint64_t start = block->number * kBlockBytes;
  const uint64_t from = start > offset ? start : offset;
  const uint64_t to = start + kBlockBytes < offset + size ? start + kBlockBytes : offset + size;
  memcpy(data + (from - offset), block->data + (from - start), to - from);
}

void damage_read(const struct disk_request* read) {
  uint64_t offset = read->offset;
  size_t left = read->bytes;
  pthread_mutex_lock(&lock);
  for (const struct iovec* part = read->iov; left > 0 && old_count > 0; ++part) {
    const size_t size = part->iov_len < left ? part->iov_len : left;
    for (uint64_t number = offset / kBlockBytes; number * kBlockBytes < offset + size; ++number) {
      const struct old_block* block = find(read->image.st_ino, number);
      if (block != NULL) serve(block, offset, part->iov_base, size);
    }
    offset += size;
    left -= size;
  }
  pthread_mutex_unlock(&lock);
}
