// The pattern that fills RAM pages and disk sectors: words base, base + step, base + 2 step ... where base is a hash of
// what the place is (seed, number, generation). One addition per word, because all of it runs under emulation.
#pragma once

#include <cstddef>
#include <cstdint>

namespace migsoak::agent {

inline constexpr std::uint64_t kPatternStep = 0x9e3779b97f4a7c15ULL;

// Two rounds of SplitMix64's finaliser over the three inputs: neighbours in any of them share no words.
inline std::uint64_t pattern_base(std::uint64_t a, std::uint64_t b, std::uint64_t c) {
  std::uint64_t z = a ^ (b * 0xd1342543de82ef95ULL) ^ (c * 0xaef17502108ef2d9ULL);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

template <std::size_t Words>
inline void fill_pattern(std::uint64_t* words, std::uint64_t base) {
  std::uint64_t value = base;
#pragma GCC unroll 15
  for (std::size_t i = 0; i < Words; ++i) {
    words[i] = value;
    value += kPatternStep;
  }
}

// Every word is compared; differences are collected rather than branched on.
template <std::size_t Words>
inline bool matches_pattern(const std::uint64_t* words, std::uint64_t base) {
  std::uint64_t value = base;
  std::uint64_t difference = 0;
#pragma GCC unroll 15
  for (std::size_t i = 0; i < Words; ++i) {
    difference |= words[i] ^ value;
    value += kPatternStep;
  }
  return difference == 0;
}

// xorshift64*: the order in which pages and extents are written; any full-period generator does.
class Shuffle {
 public:
  explicit Shuffle(std::uint64_t seed) : state_(seed | 1) {}
  std::uint64_t below(std::uint64_t bound) {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return ((state_ * 0x2545f4914f6cdd1dULL) >> 32) % bound;
  }

 private:
  std::uint64_t state_;
};

}  // namespace migsoak::agent
