// What every 512-byte sector of a disk's test area holds: who it is, and a body that follows from that.
//
//   word 0      magic
//   word 1      seed of the workload
//   word 2      disk tag (high 32 bits), number of the sector in the area (low 32 bits)
//   word 3      sequence number of the write
//   word 4      checksum of words 1..3; words 5..63 continue it as a pattern
//
// A sector is whole when words 4..63 agree with words 1..3; only a whole sector may say whose it is.
#pragma once

#include <cstdint>

#include "pattern.h"

namespace migsoak::agent {

inline constexpr std::uint64_t kSectorMagic = 0x316b736964616f73ULL;  // "soadisk1"
inline constexpr std::uint64_t kSectorBytes = 512;
inline constexpr std::uint64_t kBlockBytes = 4096;
inline constexpr std::uint64_t kBlockSectors = kBlockBytes / kSectorBytes;
inline constexpr std::uint64_t kSectorWords = kSectorBytes / 8;
inline constexpr std::uint64_t kSectorHeaderWords = 4;

struct SectorLabel {
  std::uint64_t seed = 0;
  std::uint32_t disk = 0;
  std::uint32_t sector = 0;
  std::uint64_t sequence = 0;
  std::uint64_t place() const { return static_cast<std::uint64_t>(disk) << 32 | sector; }
};

inline void write_sector(std::uint64_t* words, const SectorLabel& label) {
  words[0] = kSectorMagic;
  words[1] = label.seed;
  words[2] = label.place();
  words[3] = label.sequence;
  fill_pattern<kSectorWords - kSectorHeaderWords>(words + kSectorHeaderWords,
                                                  pattern_base(label.seed, label.place(), label.sequence));
}

inline bool sector_is_whole(const std::uint64_t* words) {
  return words[0] == kSectorMagic && matches_pattern<kSectorWords - kSectorHeaderWords>(
                                         words + kSectorHeaderWords, pattern_base(words[1], words[2], words[3]));
}

inline bool sector_holds(const std::uint64_t* words, const SectorLabel& label) {
  return words[1] == label.seed && words[2] == label.place() && words[3] == label.sequence && sector_is_whole(words);
}

inline SectorLabel label_of(const std::uint64_t* words) {
  return SectorLabel{words[1], static_cast<std::uint32_t>(words[2] >> 32), static_cast<std::uint32_t>(words[2]),
                     words[3]};
}

}  // namespace migsoak::agent
