#include "disk_area.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>

#include "boot.h"
#include "json_text.h"
#include "wire.h"

namespace migsoak::agent {

namespace {

constexpr std::uint64_t kCheckBlocks = 128;  // 512 KiB a read

bool write_whole(int fd, const void* buffer, std::uint64_t bytes, std::uint64_t offset) {
  return pwrite(fd, buffer, bytes, static_cast<off_t>(offset)) == static_cast<ssize_t>(bytes);
}
bool read_whole(int fd, void* buffer, std::uint64_t bytes, std::uint64_t offset) {
  return pread(fd, buffer, bytes, static_cast<off_t>(offset)) == static_cast<ssize_t>(bytes);
}

}  // namespace

const char* to_string(BlockFault fault) {
  constexpr const char* kNames[kBlockFaults] = {"none", "lost", "stale", "torn", "misplaced", "garbage", "io_error"};
  return kNames[static_cast<int>(fault)];
}

void* DiskArea::allocate_buffer(std::uint64_t bytes) {
  void* buffer = aligned_alloc(kBlockBytes, bytes);
  if (buffer == nullptr) fatal("out of memory for a disk buffer");
  memset(buffer, 0, bytes);
  return buffer;
}

DiskArea::~DiskArea() {
  close();
}

void DiskArea::close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
  free(check_buffer_);
  free(sibling_buffer_);
  check_buffer_ = nullptr;
  sibling_buffer_ = nullptr;
}

bool DiskArea::open(const BlockDevice& device, std::uint64_t area_bytes_max) {
  fd_ = ::open(("/dev/" + device.name).c_str(), O_RDWR | O_DIRECT | O_CLOEXEC);
  if (fd_ < 0) return false;
  if (blocks_.empty()) {
    tag_ = crc32(device.serial + "@" + device.pci_address + device.scsi);
    blocks_.assign(std::min(device.size_bytes, area_bytes_max) / kBlockBytes, Block{});
  } else if (device.size_bytes < bytes()) {
    errno = ENOSPC;  // another disk, or not all of it
    return false;
  }
  check_buffer_ = allocate_buffer(kCheckBlocks * kBlockBytes);
  sibling_buffer_ = allocate_buffer(kBlockBytes);
  return !blocks_.empty();
}

bool DiskArea::initialise(std::uint64_t seed) {
  seed_ = seed;
  std::fill(blocks_.begin(), blocks_.end(), Block{});
  for (std::uint64_t block = 0; block < block_count(); block += kCheckBlocks) {
    const std::uint64_t count = std::min(kCheckBlocks, block_count() - block);
    // One write, yet numbered as extents of the usual size: what a write is to the check stays the same.
    const std::uint64_t first_sequence = sequence_ + 1;
    auto* words = static_cast<std::uint64_t*>(check_buffer_);
    for (std::uint64_t i = 0; i < count; ++i) {
      sequence_ = first_sequence + i / kExtentBlocksMax;
      for (std::uint64_t sector = 0; sector < kBlockSectors; ++sector) {
        write_sector(words, label(block + i, sector, sequence_));
        words += kSectorWords;
      }
    }
    const bool ok = write_whole(fd_, check_buffer_, count * kBlockBytes, block * kBlockBytes);
    for (std::uint64_t i = 0; i < count; ++i) note_write(block + i, 1, first_sequence + i / kExtentBlocksMax, ok);
    if (!ok) return false;
  }
  for (Block& block : blocks_) block.fresh = false;  // 32 MiB would be read back by the first check alone
  return true;
}

SectorLabel DiskArea::label(std::uint64_t block, std::uint64_t sector, std::uint64_t sequence) const {
  return SectorLabel{seed_, tag_, static_cast<std::uint32_t>(block * kBlockSectors + sector), sequence};
}

bool DiskArea::write_extent(std::uint64_t first_block, std::uint64_t count, std::uint64_t sequence,
                            void* buffer) const {
  auto* words = static_cast<std::uint64_t*>(buffer);
  for (std::uint64_t i = 0; i < count * kBlockSectors; ++i) {
    write_sector(words + i * kSectorWords, label(first_block, i, sequence));
  }
  return write_whole(fd_, buffer, count * kBlockBytes, first_block * kBlockBytes);
}

void DiskArea::note_write(std::uint64_t first_block, std::uint64_t count, std::uint64_t sequence, bool ok) {
  for (std::uint64_t index = first_block; index < first_block + count; ++index) {
    Block& block = blocks_[index];
    block.unknown = !ok;  // after an error the block may hold the old, the new, or both
    if (!ok) continue;
    block.previous = block.expected;
    block.expected = sequence;
    block.fresh = true;
  }
}

BlockFault DiskArea::classify(const std::uint64_t* words, std::uint64_t block) const {
  bool good = true;
  for (std::uint64_t sector = 0; sector < kBlockSectors && good; ++sector) {
    good = sector_holds(words + sector * kSectorWords, label(block, sector, blocks_[block].expected));
  }
  return good ? BlockFault::none : classify_damaged(words, block);
}

BlockFault DiskArea::classify_damaged(const std::uint64_t* words, std::uint64_t block) const {
  const std::uint64_t found = words[3];
  bool same_write = true;
  bool of_this_workload = true;
  for (std::uint64_t sector = 0; sector < kBlockSectors; ++sector) {
    const std::uint64_t* at = words + sector * kSectorWords;
    if (!sector_is_whole(at)) return BlockFault::garbage;
    const SectorLabel whose = label_of(at);
    if (whose.place() != label(block, sector, 0).place()) return BlockFault::misplaced;
    same_write = same_write && whose.sequence == found && whose.seed == words[1];
    of_this_workload = of_this_workload && whose.seed == seed_;
  }
  if (!same_write) return BlockFault::torn;
  if (of_this_workload && found > blocks_[block].expected) return BlockFault::garbage;  // from the future
  return of_this_workload && found == blocks_[block].previous ? BlockFault::lost : BlockFault::stale;
}

// Did another block of the same write arrive? Then a block that still holds old content makes the write torn.
bool DiskArea::sibling_was_written(std::uint64_t block) {
  const std::uint64_t expected = blocks_[block].expected;
  const std::uint64_t from = block < kExtentBlocksMax ? 0 : block - kExtentBlocksMax + 1;
  const std::uint64_t to = std::min(block + kExtentBlocksMax, block_count());
  for (std::uint64_t sibling = from; sibling < to; ++sibling) {
    if (sibling == block || blocks_[sibling].expected != expected || blocks_[sibling].unknown) continue;
    if (!read_whole(fd_, sibling_buffer_, kBlockBytes, sibling * kBlockBytes)) continue;
    if (classify(static_cast<const std::uint64_t*>(sibling_buffer_), sibling) == BlockFault::none) return true;
  }
  return false;
}

void DiskArea::report(std::uint64_t block, BlockFault fault, const std::uint64_t* words, DiskCheck& check) {
  ++check.counts[static_cast<int>(fault)];
  if (fault != BlockFault::io_error)
    blocks_[block].unknown = true;  // reported once, checked again after its next write
  if (check.first.empty()) {
    JsonObject first;
    first.number("block", block)
        .number("offset", block * kBlockBytes)
        .text("fault", to_string(fault))
        .number("expected_sequence", blocks_[block].expected);
    if (words != nullptr) {
      std::uint64_t sector = 0;
      while (sector + 1 < kBlockSectors &&
             sector_holds(words + sector * kSectorWords, label(block, sector, blocks_[block].expected))) {
        ++sector;
      }
      const std::uint64_t* at = words + sector * kSectorWords;
      first.number("sector", sector).boolean("whole", sector_is_whole(at)).hex("found_magic", at[0]);
      const SectorLabel whose = label_of(at);
      first.number("found_sector", whose.sector)
          .boolean("found_own_disk", whose.disk == tag_)
          .boolean("found_own_seed", whose.seed == seed_)
          .number("found_sequence", whose.sequence);
    }
    check.first = first.str();
  }
}

void DiskArea::check_run(std::uint64_t first_block, std::uint64_t count, DiskCheck& check) {
  const auto* words = static_cast<const std::uint64_t*>(check_buffer_);
  if (!read_whole(fd_, check_buffer_, count * kBlockBytes, first_block * kBlockBytes)) {
    report(first_block, BlockFault::io_error, nullptr, check);
    return;  // the blocks stay fresh: they are read again next time
  }
  for (std::uint64_t i = 0; i < count; ++i) {
    Block& block = blocks_[first_block + i];
    block.fresh = false;
    if (block.unknown) continue;
    const std::uint64_t* at = words + i * (kBlockBytes / 8);
    BlockFault fault = classify(at, first_block + i);
    check.verified_bytes += kBlockBytes;
    if (fault == BlockFault::none) continue;
    const bool old = fault == BlockFault::lost || fault == BlockFault::stale;
    if (old && sibling_was_written(first_block + i)) fault = BlockFault::torn;
    report(first_block + i, fault, at, check);
  }
}

DiskCheck DiskArea::verify(std::uint64_t bytes_min) {
  DiskCheck check;
  std::vector<bool> seen(block_count(), false);
  const auto run = [&](std::uint64_t start, bool fresh_only) {
    std::uint64_t end = start;
    while (end < block_count() && end - start < kCheckBlocks && !seen[end] && (!fresh_only || blocks_[end].fresh)) {
      seen[end++] = true;
    }
    if (end > start) check_run(start, end - start, check);
    return std::max(end, start + 1);
  };
  for (std::uint64_t block = 0; block < block_count();) block = run(block, true);
  for (std::uint64_t left = block_count(); left > 0 && check.verified_bytes < bytes_min;) {
    if (round_robin_ >= block_count()) round_robin_ = 0;
    const std::uint64_t next = run(round_robin_, false);
    left -= std::min(left, next - round_robin_);
    round_robin_ = next;
  }
  return check;
}

}  // namespace migsoak::agent
