// Text that comes from outside (guest, logs, file names) is hostile: bound and escape it before keeping or showing it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace migsoak::base {

inline constexpr std::size_t kPrintableBytesMax = 400;
// Control bytes, DEL and invalid UTF-8 become \xNN; the result is valid UTF-8, at most `bytes_max` long
// (an ellipsis "…" marks a cut).
std::string printable(std::string_view untrusted, std::size_t bytes_max = kPrintableBytesMax);

// 32 hex digits of XXH3-128: content addressing and fingerprints, not security.
std::string content_hash(std::string_view bytes);
std::uint64_t hash64(std::string_view bytes);

// The candidate with the smallest edit distance to `word`, or empty when none is near (distance <= 1/2 length).
std::string nearest_name(std::string_view word, const std::vector<std::string>& candidates);

std::vector<std::string> split(std::string_view text, char separator);
std::string join(const std::vector<std::string>& parts, std::string_view separator);
// Single-quoted where a POSIX shell would need it: for replay commands that a person pastes.
std::string shell_quote(std::string_view word);

}  // namespace migsoak::base
