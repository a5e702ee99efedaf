// RamRegion: patterned memory that is dirtied at a set rate and can be checked page by page.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

namespace migsoak::agent {

class RamRegion {
 public:
  // (Re)creates the region, every page in generation 1. False when the memory can't be had.
  bool create(std::uint64_t bytes, std::uint64_t seed);
  // The dirtier starts with the first call; 0 stops it.
  void set_dirty_rate(std::uint64_t bytes_per_s);
  // Checks every page against the generation table; the dirtier goes on between chunks.
  std::string verify();
  // Test-only: flips one bit of the page's body, or exchanges it with what another fault would leave there.
  bool corrupt(std::uint64_t page, const std::string& how);
  std::uint64_t bytes() const { return page_count_ * kPageBytes; }
  std::uint64_t pages_dirtied() const { return pages_dirtied_; }

 private:
  static constexpr std::uint64_t kPageBytes = 4096;
  enum class Fault { none, stale, misplaced, garbage };

  std::uint64_t* page(std::uint64_t index) { return words_ + index * (kPageBytes / 8); }
  void write_page(std::uint64_t* at, std::uint64_t index, std::uint32_t generation);
  bool page_holds(const std::uint64_t* at, std::uint64_t index, std::uint32_t generation) const;
  // A reported page is written anew: each corruption is reported once.
  void repair(std::uint64_t index);
  Fault classify(std::uint64_t index, std::uint32_t generation);
  void dirty_forever();

  std::mutex mutex_;  // over pages and generations
  std::uint64_t* words_ = nullptr;
  std::uint64_t page_count_ = 0;
  std::uint64_t seed_ = 0;
  std::vector<std::uint32_t> generations_;
  std::atomic<std::uint64_t> dirty_bytes_per_s_{0};
  std::atomic<std::uint64_t> pages_dirtied_{0};
  bool dirtier_started_ = false;
};

}  // namespace migsoak::agent
