#include "guest/disk_image.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>

namespace migsoak::guest {

DiskImage::DiskImage(std::string path) : path_(std::move(path)) {}

std::uint64_t DiskImage::block_count() const {
  return snapshot().size() / kBlock;
}

std::string DiskImage::snapshot() const {
  std::ostringstream text;
  text << std::ifstream(path_, std::ios::binary).rdbuf();
  return text.str();
}

void DiskImage::write(std::uint64_t offset, const std::string& bytes) const {
  std::fstream file(path_, std::ios::binary | std::ios::in | std::ios::out);
  file.seekp(static_cast<std::streamoff>(offset));
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  EXPECT_TRUE(file.flush()) << path_;
}

std::uint64_t sequence_at(const std::string& snapshot, std::uint64_t block) {
  std::uint64_t sequence = 0;
  std::memcpy(&sequence, snapshot.data() + block * kBlock + 24, sizeof sequence);
  return sequence;
}

std::string block_of(const std::string& snapshot, std::uint64_t block) {
  return snapshot.substr(block * kBlock, kBlock);
}

std::vector<Extent> extents_written(const std::string& then, const std::string& now) {
  std::vector<Extent> extents;
  const std::uint64_t blocks = now.size() / kBlock;
  for (std::uint64_t block = 0; block < blocks;) {
    Extent extent{block, 0};
    const std::uint64_t sequence = sequence_at(now, block);
    bool all_new = true;
    while (block < blocks && sequence_at(now, block) == sequence) {
      all_new = all_new && sequence_at(then, block) != sequence;
      ++extent.count;
      ++block;
    }
    if (all_new) extents.push_back(extent);
  }
  // A later write may have cut one in two: such a write is not seen whole, and is left out.
  std::map<std::uint64_t, int> pieces;
  for (const Extent& extent : extents) ++pieces[sequence_at(now, extent.first)];
  std::erase_if(extents, [&](const Extent& extent) { return pieces[sequence_at(now, extent.first)] > 1; });
  std::stable_sort(extents.begin(), extents.end(), [](const Extent& a, const Extent& b) { return a.count > b.count; });
  return extents;
}

}  // namespace migsoak::guest
