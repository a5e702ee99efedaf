#include "base/text.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <numeric>
#include <utility>

namespace migsoak::base {

namespace {

constexpr std::string_view kCutMark = "…";

// Length of the valid UTF-8 sequence at the start of `text`, or 0 (RFC 3629, section 4).
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  const std::size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  if (lead == 0xe0 && byte(1) < 0xa0) return 0;  // overlong
  if (lead == 0xed && byte(1) > 0x9f) return 0;  // surrogates
  if (lead == 0xf0 && byte(1) < 0x90) return 0;  // overlong
  if (lead == 0xf4 && byte(1) > 0x8f) return 0;  // beyond U+10FFFF
  return length;
}

// Line and paragraph separators and bidirectional controls (U+2028..U+202E, U+2066..U+2069): text that carries them can
// be shown as something else than it says.
bool is_deceptive(std::string_view sequence) {
  if (sequence.size() != 3 || sequence[0] != '\xe2') return false;
  const auto middle = static_cast<unsigned char>(sequence[1]);
  const auto last = static_cast<unsigned char>(sequence[2]);
  return (middle == 0x80 && last >= 0xa8 && last <= 0xae) || (middle == 0x81 && last >= 0xa6 && last <= 0xa9);
}

}  // namespace

std::string printable(std::string_view untrusted, std::size_t bytes_max) {
  std::string out;
  std::size_t cut = 0;  // the longest prefix that leaves room for the mark
  while (!untrusted.empty()) {
    std::string piece;
    const std::size_t length = utf8_length(untrusted);
    const auto lead = static_cast<unsigned char>(untrusted.front());
    // C1 controls (U+0080..U+009F) reach terminals as escape sequences too.
    const bool c1 = length == 2 && lead == 0xc2 && static_cast<unsigned char>(untrusted[1]) < 0xa0;
    if (length == 0 || c1 || lead < 0x20 || lead == 0x7f || is_deceptive(untrusted.substr(0, length))) {
      piece = lead == '\t' ? std::string(" ") : fmt::format("\\x{:02x}", lead);
      untrusted.remove_prefix(1);
    } else {
      piece = untrusted.substr(0, length);
      untrusted.remove_prefix(length);
    }
    if (out.size() + piece.size() > bytes_max) {
      out.resize(cut);
      return bytes_max < kCutMark.size() ? out : out + std::string(kCutMark);
    }
    out += piece;
    if (out.size() + kCutMark.size() <= bytes_max) cut = out.size();
  }
  return out;
}

std::string content_hash(std::string_view bytes) {
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

std::uint64_t hash64(std::string_view bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

std::string nearest_name(std::string_view word, const std::vector<std::string>& candidates) {
  std::string best;
  std::size_t best_distance = std::max<std::size_t>(word.size() / 2, 2) + 1;
  for (const std::string& candidate : candidates) {
    std::vector<std::size_t> row(candidate.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 1; i <= word.size(); ++i) {
      std::size_t diagonal = std::exchange(row[0], i);
      for (std::size_t j = 1; j <= candidate.size(); ++j) {
        const std::size_t change = diagonal + (word[i - 1] == candidate[j - 1] ? 0 : 1);
        diagonal = std::exchange(row[j], std::min({row[j] + 1, row[j - 1] + 1, change}));
      }
    }
    if (row.back() < best_distance) {
      best_distance = row.back();
      best = candidate;
    }
  }
  return best;
}

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  std::size_t start = 0;
  for (;;) {
    const std::size_t end = text.find(separator, start);
    parts.emplace_back(text.substr(start, end == std::string_view::npos ? end : end - start));
    if (end == std::string_view::npos) return parts;
    start = end + 1;
  }
}

std::string join(const std::vector<std::string>& parts, std::string_view separator) {
  return fmt::format("{}", fmt::join(parts, separator));
}

std::string shell_quote(std::string_view word) {
  const auto safe = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("-_./=:,+@%").find(c) != std::string_view::npos;
  };
  if (!word.empty() && std::all_of(word.begin(), word.end(), safe)) return std::string(word);
  std::string quoted = "'";
  for (const char c : word) {
    if (c == '\'') {
      quoted += "'\\''";
    } else {
      quoted += c;
    }
  }
  return quoted + "'";
}

}  // namespace migsoak::base
