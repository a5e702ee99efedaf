// Rng: SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014).
// Chosen over <random> because its output is the same on every standard library, and plans must be too.
#pragma once

#include <cassert>
#include <cstdint>

namespace migsoak::base {

class Rng {
 public:
  explicit Rng(std::uint64_t seed) : state_(seed) {}
  // The stream for one iteration of one scenario: independent of every other iteration's.
  static Rng for_iteration(std::uint64_t seed, std::uint64_t iteration) {
    Rng mix(seed ^ 0x6d6967736f616bULL);
    const std::uint64_t base = mix.next();
    return Rng(base + iteration * 0xd1342543de82ef95ULL);
  }

  std::uint64_t next() {
    state_ += 0x9e3779b97f4a7c15ULL;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }
  // Uniform in [0, bound); Lemire's multiply-shift, whose bias (< bound / 2^64) does not matter here.
  std::uint64_t below(std::uint64_t bound) {
    assert(bound > 0);
    __extension__ using Wide = unsigned __int128;
    return static_cast<std::uint64_t>((static_cast<Wide>(next()) * bound) >> 64);
  }

 private:
  std::uint64_t state_;
};

}  // namespace migsoak::base
