#include "guest/line_frame.h"

#include <fmt/format.h>

#include <array>
#include <utility>

#include "base/text.h"

namespace migsoak::guest {

namespace {

constexpr std::size_t kCrcDigits = 8;
constexpr std::size_t kRejectedKept = 100;

constexpr std::array<std::uint32_t, 256> make_crc_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) != 0 ? 0xedb88320u : 0u);
    table[i] = value;
  }
  return table;
}
constexpr std::array<std::uint32_t, 256> kCrcTable = make_crc_table();

}  // namespace

std::uint32_t crc32(std::string_view bytes) {
  std::uint32_t value = 0xffffffffu;
  for (const char byte : bytes) value = (value >> 8) ^ kCrcTable[(value ^ static_cast<unsigned char>(byte)) & 0xff];
  return ~value;
}

std::string frame_line(std::string_view text) {
  return fmt::format("{}*{:08x}\n", text, crc32(text));
}

std::optional<std::string_view> text_of_line(std::string_view line) {
  if (line.size() < kCrcDigits + 1 || line[line.size() - kCrcDigits - 1] != '*') return std::nullopt;
  const std::string_view text = line.substr(0, line.size() - kCrcDigits - 1);
  if (line.substr(text.size() + 1) != fmt::format("{:08x}", crc32(text))) return std::nullopt;
  return text;
}

void LineJoiner::add_bytes(int stream, std::string_view bytes, const OnLine& on_line) {
  if (bytes.empty()) return;
  Tail& tail = tails_[stream];
  if (stream != talker_) {
    if (const auto before = tails_.find(talker_); before != tails_.end()) {
      carried_ = std::exchange(before->second.bytes, {});
      before->second.fresh = true;
    }
    talker_ = stream;
  }
  while (!bytes.empty()) {
    const std::size_t end = bytes.find('\n');
    const std::string_view piece = bytes.substr(0, end);
    if (!tail.overlong) {
      const std::size_t room = kLineBytesMax - tail.bytes.size();
      tail.bytes += piece.substr(0, room);
      tail.overlong = piece.size() > room;
    }
    if (end == std::string_view::npos) return;
    bytes.remove_prefix(end + 1);
    take_line(stream, tail, on_line);
  }
}

void LineJoiner::take_line(int stream, Tail& tail, const OnLine& on_line) {
  const std::string line = std::exchange(tail.bytes, {});
  const bool first = std::exchange(tail.fresh, false);
  const bool overlong = std::exchange(tail.overlong, false);
  const std::string before = first ? std::exchange(carried_, {}) : std::string();
  if (!before.empty()) {
    const std::string joined = before + line;
    if (const auto text = text_of_line(joined); text && !overlong) {
      ++lines_joined_;
      on_line(stream, *text);
      return;
    }
    ++pieces_forgiven_;  // the other half was lost: what is here may still be a line of its own
  }
  if (const auto text = text_of_line(line); text && !overlong) {
    on_line(stream, *text);
  } else if (first) {
    ++pieces_forgiven_;
  } else {
    reject(line);
  }
}

void LineJoiner::end_stream(int stream) {
  const auto it = tails_.find(stream);
  if (it == tails_.end()) return;
  if (stream == talker_) {
    carried_ = std::move(it->second.bytes);
    talker_ = -1;
  }
  tails_.erase(it);
}

void LineJoiner::reject(std::string_view line) {
  if (rejected_.size() < kRejectedKept) {
    rejected_.push_back(base::printable(line, 200));
  } else {
    ++rejected_unkept_;
  }
}

std::vector<std::string> LineJoiner::take_rejected() {
  std::vector<std::string> lines = std::exchange(rejected_, {});
  if (const std::uint64_t more = std::exchange(rejected_unkept_, 0); more > 0) {
    lines.push_back(fmt::format("... and {} more", more));
  }
  return lines;
}

}  // namespace migsoak::guest
