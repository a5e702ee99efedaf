// DiskArea: the test area of one block device: what every 4 KiB block ought to hold, writes, and the check.
//
// Not thread-safe by itself: DiskWorkload (disk_workload.h) keeps writers and the check apart.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "devices.h"
#include "sector.h"

namespace migsoak::agent {

enum class BlockFault { none, lost, stale, torn, misplaced, garbage, io_error };
inline constexpr int kBlockFaults = 7;
const char* to_string(BlockFault fault);

struct DiskCheck {
  std::uint64_t verified_bytes = 0;
  std::uint64_t counts[kBlockFaults] = {};
  std::string first;  // JSON of the first bad block
};

class DiskArea {
 public:
  DiskArea() = default;
  ~DiskArea();
  DiskArea(const DiskArea&) = delete;
  DiskArea& operator=(const DiskArea&) = delete;

  // Opens the device with O_DIRECT and takes its first area_bytes_max bytes; false with errno when it can't. An area
  // that was open before goes on with what it knows: the device has to hold it all still.
  bool open(const BlockDevice& device, std::uint64_t area_bytes_max);
  // Lets go of the device and of all memory but the table of what its blocks hold.
  void close();
  // Writes the whole area once; false at the first I/O error. `seed` must be another one each time, or what an earlier
  // workload left there could pass for what this one wrote.
  bool initialise(std::uint64_t seed);
  std::uint64_t block_count() const { return blocks_.size(); }
  std::uint64_t bytes() const { return block_count() * kBlockBytes; }

  // A write in three steps; the middle one (write_extent) may run beside others on other blocks.
  std::uint64_t next_sequence() { return ++sequence_; }
  bool write_extent(std::uint64_t first_block, std::uint64_t count, std::uint64_t sequence, void* buffer) const;
  void note_write(std::uint64_t first_block, std::uint64_t count, std::uint64_t sequence, bool ok);

  // Reads back every block written since the last check, then others in turn until bytes_min are verified.
  DiskCheck verify(std::uint64_t bytes_min);

  static void* allocate_buffer(std::uint64_t bytes);
  static constexpr std::uint64_t kExtentBlocksMax = 16;

 private:
  struct Block {
    std::uint64_t expected = 0;  // sequence that the last successful write gave it
    std::uint64_t previous = 0;  // the one before
    bool fresh = false;          // written since the last check
    bool unknown = true;         // never written, failed write, or already reported: any content goes
  };
  SectorLabel label(std::uint64_t block, std::uint64_t sector, std::uint64_t sequence) const;
  BlockFault classify(const std::uint64_t* words, std::uint64_t block) const;
  BlockFault classify_damaged(const std::uint64_t* words, std::uint64_t block) const;
  bool sibling_was_written(std::uint64_t block);
  void check_run(std::uint64_t first_block, std::uint64_t count, DiskCheck& check);
  void report(std::uint64_t block, BlockFault fault, const std::uint64_t* words, DiskCheck& check);

  int fd_ = -1;
  std::uint64_t seed_ = 0;
  std::uint32_t tag_ = 0;
  std::uint64_t sequence_ = 0;
  std::uint64_t round_robin_ = 0;
  std::vector<Block> blocks_;
  void* check_buffer_ = nullptr;
  void* sibling_buffer_ = nullptr;
};

}  // namespace migsoak::agent
