// Is this a sanitized build? What a test repeats for its statistics alone need not be repeated there: it takes ten
// times as long, and the same code has run once.
#pragma once

#include <cstdint>

#if defined(__SANITIZE_ADDRESS__)
#define MIGSOAK_SANITIZED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MIGSOAK_SANITIZED true
#endif
#endif

namespace migsoak {

#if defined(MIGSOAK_SANITIZED)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

// How often a test repeats what is random, N times where nothing slows it down.
constexpr std::uint64_t repeats(std::uint64_t n) {
  return kSanitized ? (n + 19) / 20 : n;
}

}  // namespace migsoak
