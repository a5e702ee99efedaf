#include "qmp/framing.h"

namespace migsoak::qmp {

void LineFramer::feed(std::string_view bytes) {
  if (overflowed_) return;
  if (start_ > 0) {
    buffer_.erase(0, start_);
    scanned_ -= start_;
    start_ = 0;
  }
  buffer_.append(bytes);
}

std::optional<std::string_view> LineFramer::next_line() {
  if (overflowed_) return std::nullopt;
  const std::size_t end = buffer_.find('\n', scanned_);
  const std::size_t line_end = end == std::string::npos ? buffer_.size() : end;
  if (line_end - start_ > line_bytes_max_) {
    overflowed_ = true;
    return std::nullopt;
  }
  if (end == std::string::npos) {
    scanned_ = buffer_.size();
    return std::nullopt;
  }
  std::string_view line = std::string_view(buffer_).substr(start_, end - start_);
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  start_ = end + 1;
  scanned_ = start_;
  return line;
}

}  // namespace migsoak::qmp
