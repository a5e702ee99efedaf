// DiskImage: the host's look at a test area in a disk's file: which write each block holds, and ways to damage it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace migsoak::guest {

inline constexpr std::uint64_t kBlock = 4096;

class DiskImage {
 public:
  explicit DiskImage(std::string path);
  std::uint64_t block_count() const;
  // The whole file as it is now.
  std::string snapshot() const;
  void write(std::uint64_t offset, const std::string& bytes) const;

 private:
  std::string path_;
};

// Sequence number of the write that a block holds (word 3 of its first sector, PROTOCOL.md).
std::uint64_t sequence_at(const std::string& snapshot, std::uint64_t block);
std::string block_of(const std::string& snapshot, std::uint64_t block);

// A run of blocks that one write left, all of it: [first, first + count).
struct Extent {
  std::uint64_t first = 0;
  std::uint64_t count = 0;
};
// The extents of `now` of which every block differs from `then`, largest first.
std::vector<Extent> extents_written(const std::string& then, const std::string& now);

}  // namespace migsoak::guest
