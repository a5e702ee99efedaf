// LineFramer: cuts a byte stream into lines of bounded length. Internal to qmp; pure, so that hostile input is
// testable.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace migsoak::qmp {

class LineFramer {
 public:
  explicit LineFramer(std::size_t line_bytes_max) : line_bytes_max_(line_bytes_max) {}

  void feed(std::string_view bytes);
  // The next whole line without its "\n" or "\r\n" (QEMU ends lines with the latter), valid until the next feed() or
  // next_line(). Empty optional: more bytes are needed.
  std::optional<std::string_view> next_line();
  // A line beyond the bound has begun: nothing sensible can follow, further bytes are not kept.
  bool overflowed() const { return overflowed_; }
  std::size_t partial_bytes() const { return buffer_.size() - start_; }
  std::string_view partial() const { return std::string_view(buffer_).substr(start_); }

 private:
  std::size_t line_bytes_max_;
  std::string buffer_;
  std::size_t start_ = 0;    // of the line not yet taken
  std::size_t scanned_ = 0;  // no line end before this
  bool overflowed_ = false;
};

}  // namespace migsoak::qmp
