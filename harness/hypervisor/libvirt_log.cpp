#include "hypervisor/libvirt_log.h"

#include <algorithm>
#include <fstream>
#include <utility>

#include "base/text.h"

namespace migsoak::hypervisor {

namespace {

// As a child's output is bounded (proc/child_process.h).
constexpr std::size_t kPartialLineBytesMax = 6400;
constexpr std::size_t kLogLinesMax = 2000;
constexpr std::size_t kLogReadBytesMax = 1u << 20;
// A domain's start with its command line is a few KiB.
constexpr std::uint64_t kSearchedBytes = 256u << 10;

constexpr std::string_view kStart = ": starting up libvirt version";

// "2026-11-27 18:03:11.123+0000: "
bool has_libvirts_time(const std::string& line) {
  constexpr std::string_view kShape = "dddd-dd-dd dd:dd:dd.ddd+0000: ";
  if (line.size() < kShape.size()) return false;
  for (std::size_t i = 0; i < kShape.size(); ++i) {
    const bool digit = line[i] >= '0' && line[i] <= '9';
    if (kShape[i] == 'd' ? !digit : line[i] != kShape[i]) return false;
  }
  return true;
}

}  // namespace

bool LibvirtLogFilter::is_qemus(const std::string& line) {
  if (has_libvirts_time(line)) {
    in_command_ = line.find(kStart) != std::string::npos;
    return false;
  }
  if (!in_command_) return true;
  // Environment and arguments, a line each, but for the last continued by a backslash.
  in_command_ = line.ends_with('\\');
  return false;
}

LibvirtLog::LibvirtLog(std::string path) : path_(std::move(path)), lines_(kLogLinesMax) {
  std::ifstream file(path_, std::ios::binary | std::ios::ate);
  if (!file) return;
  const auto size = static_cast<std::uint64_t>(std::max<std::streamoff>(file.tellg(), 0));
  offset_ = size > kSearchedBytes ? size - kSearchedBytes : 0;
  file.seekg(static_cast<std::streamoff>(offset_));
  std::string text(static_cast<std::size_t>(size - offset_), '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  const auto start = text.rfind(kStart);
  const auto line = start == std::string::npos ? std::string::npos : text.rfind('\n', start);
  offset_ += line == std::string::npos ? 0 : line + 1;
}

void LibvirtLog::read() {
  std::ifstream file(path_, std::ios::binary);
  if (!file || !file.seekg(static_cast<std::streamoff>(offset_))) return;
  std::string text(kLogReadBytesMax, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(std::max<std::streamsize>(file.gcount(), 0)));
  offset_ += text.size();
  for (const char c : text) {
    if (c != '\n') {
      if (partial_.size() < kPartialLineBytesMax) {
        partial_.push_back(c);
      } else {
        lines_.note_dropped(1);
      }
      continue;
    }
    const std::string line = std::exchange(partial_, {});
    if (filter_.is_qemus(line)) lines_.push(base::printable(line, base::LineRing::kLineBytesMax));
  }
}

std::vector<std::string> LibvirtLog::take_lines() {
  read();
  return lines_.take();
}

std::uint64_t LibvirtLog::take_dropped_bytes() {
  return lines_.take_dropped_bytes();
}

std::vector<std::string> LibvirtLog::last_lines() {
  read();
  return lines_.last();
}

}  // namespace migsoak::hypervisor
