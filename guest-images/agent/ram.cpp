#include "ram.h"

#include <string.h>
#include <sys/mman.h>

#include <algorithm>
#include <thread>

#include "clock.h"
#include "json_text.h"
#include "pattern.h"

namespace migsoak::agent {

namespace {

constexpr std::uint64_t kRamMagic = 0x316d61726b616f73ULL;  // "soakram1"
constexpr std::size_t kHeaderWords = 2;
constexpr std::size_t kBodyWords = 512 - kHeaderWords;
constexpr std::uint64_t kChunkPages = 32;
constexpr std::int64_t kTickNs = 10'000'000;

}  // namespace

bool RamRegion::create(std::uint64_t bytes, std::uint64_t seed) {
  const std::lock_guard lock(mutex_);
  const std::uint64_t pages = std::max<std::uint64_t>(bytes / kPageBytes, 1);
  if (pages != page_count_) {
    if (words_ != nullptr) munmap(words_, page_count_ * kPageBytes);
    words_ = nullptr;
    page_count_ = 0;
    void* memory = mmap(nullptr, pages * kPageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return false;
    if (mlock(memory, pages * kPageBytes) != 0) {
      munmap(memory, pages * kPageBytes);
      return false;
    }
    words_ = static_cast<std::uint64_t*>(memory);
    page_count_ = pages;
  }
  seed_ = seed;
  generations_.assign(page_count_, 1);
  for (std::uint64_t index = 0; index < page_count_; ++index) write_page(page(index), index, 1);
  return true;
}

void RamRegion::write_page(std::uint64_t* at, std::uint64_t index, std::uint32_t generation) {
  at[0] = kRamMagic ^ seed_;
  at[1] = index << 32 | generation;
  fill_pattern<kBodyWords>(at + kHeaderWords, pattern_base(seed_, index, generation));
}

bool RamRegion::page_holds(const std::uint64_t* at, std::uint64_t index, std::uint32_t generation) const {
  return at[0] == (kRamMagic ^ seed_) && at[1] == (index << 32 | generation) &&
         matches_pattern<kBodyWords>(at + kHeaderWords, pattern_base(seed_, index, generation));
}

RamRegion::Fault RamRegion::classify(std::uint64_t index, std::uint32_t generation) {
  const std::uint64_t* at = page(index);
  if (page_holds(at, index, generation)) return Fault::none;
  const std::uint64_t found_index = at[1] >> 32;
  const auto found_generation = static_cast<std::uint32_t>(at[1]);
  // Only a page that is whole may say whose it is.
  if (!page_holds(at, found_index, found_generation)) return Fault::garbage;
  if (found_index != index) return Fault::misplaced;
  return found_generation < generation ? Fault::stale : Fault::garbage;
}

void RamRegion::repair(std::uint64_t index) {
  generations_[index] += 1;
  write_page(page(index), index, generations_[index]);
}

std::string RamRegion::verify() {
  std::uint64_t counts[4] = {};
  std::string first;
  std::uint64_t verified_pages = 0;
  for (std::uint64_t start = 0; start < page_count_; start += kChunkPages) {
    const std::lock_guard lock(mutex_);
    const std::uint64_t end = std::min(start + kChunkPages, page_count_);
    for (std::uint64_t index = start; index < end; ++index) {
      ++verified_pages;
      const Fault fault = classify(index, generations_[index]);
      if (fault == Fault::none) continue;
      ++counts[static_cast<int>(fault)];
      if (!first.empty()) {
        repair(index);
        continue;
      }
      constexpr const char* kNames[] = {"none", "stale", "misplaced", "garbage"};
      const std::uint64_t* at = page(index);
      const bool zero = at[0] == 0 && memcmp(at, at + 1, kPageBytes - 8) == 0;
      first = JsonObject()
                  .number("page", index)
                  .text("fault", kNames[static_cast<int>(fault)])
                  .number("expected_generation", generations_[index])
                  .number("found_page", at[1] >> 32)
                  .number("found_generation", at[1] & 0xffffffffu)
                  .boolean("zero", zero)
                  .hex("found_magic", at[0] ^ seed_)
                  .str();
      repair(index);
    }
  }
  JsonObject report;
  report.number("verified_bytes", verified_pages * kPageBytes)
      .number("pages_stale", counts[1])
      .number("pages_misplaced", counts[2])
      .number("pages_garbage", counts[3])
      .number("pages_dirtied", pages_dirtied_);
  if (!first.empty()) report.raw("first", first);
  return report.str();
}

bool RamRegion::corrupt(std::uint64_t index, const std::string& how) {
  const std::lock_guard lock(mutex_);
  if (index >= page_count_ || page_count_ < 2) return false;
  if (how == "stale") {
    generations_[index] += 1;  // as if the last write to the page had been lost
  } else if (how == "misplaced") {
    const std::uint64_t other = index == 0 ? 1 : index - 1;
    memcpy(page(index), page(other), kPageBytes);
  } else if (how == "zero") {
    memset(page(index), 0, kPageBytes);
  } else if (how == "flip") {
    page(index)[300] ^= 1ULL << 17;
  } else {
    return false;
  }
  return true;
}

void RamRegion::set_dirty_rate(std::uint64_t bytes_per_s) {
  dirty_bytes_per_s_ = bytes_per_s;
  if (dirtier_started_ || bytes_per_s == 0) return;
  dirtier_started_ = true;
  std::thread(&RamRegion::dirty_forever, this).detach();
}

void RamRegion::dirty_forever() {
  Shuffle shuffle(seed_ ^ 0x5eed);
  std::uint64_t owed_bytes = 0;
  std::int64_t due_ns = monotonic_ns();
  for (;;) {
    due_ns += kTickNs;
    const std::int64_t now_ns = monotonic_ns();
    if (due_ns < now_ns) due_ns = now_ns;
    sleep_until_ns(due_ns);
    owed_bytes += dirty_bytes_per_s_ / (1'000'000'000 / kTickNs);
    while (owed_bytes >= kPageBytes) {
      owed_bytes -= kPageBytes;
      const std::lock_guard lock(mutex_);
      if (page_count_ == 0) break;
      const std::uint64_t index = shuffle.below(page_count_);
      generations_[index] += 1;
      write_page(page(index), index, generations_[index]);
      ++pages_dirtied_;
    }
  }
}

}  // namespace migsoak::agent
