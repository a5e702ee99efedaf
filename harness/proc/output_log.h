// OutputLog: what a child wrote, as bounded lines and as a bounded file. Internal to proc.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/line_ring.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace migsoak::proc {

class OutputLog {
 public:
  // `path` empty: no file.
  // `append`: to what an earlier process wrote there, which counts towards `bytes_max`.
  base::Result<void> open(const std::string& path, std::uint64_t bytes_max, bool append = false);
  // Also keeps the first `bytes_max` bytes as they came.
  void capture(std::size_t bytes_max) { capture_max_ = bytes_max; }

  void append(std::string_view bytes);
  // The last, unfinished line counts as one; the file gets its tail.
  void finish();

  std::vector<std::string> take_lines() { return lines_.take(); }
  std::uint64_t take_dropped_bytes() { return lines_.take_dropped_bytes(); }
  std::vector<std::string> last_lines() const { return lines_.last(); }
  std::string take_captured() { return std::move(captured_); }

 private:
  void end_line();
  void write_file(std::string_view bytes);

  std::string partial_;            // the beginning of the line under way
  std::uint64_t partial_cut_ = 0;  // bytes of it that were not kept
  base::LineRing lines_{2000};

  std::size_t capture_max_ = 0;
  std::string captured_;

  base::UniqueFd file_;
  std::uint64_t head_left_ = 0;    // bytes that still go straight to the file
  std::string tail_;               // the newest bytes beyond the head, up to twice what is kept
  std::size_t tail_max_ = 0;       //
  std::uint64_t beyond_head_ = 0;  // all bytes beyond the head
};

}  // namespace migsoak::proc
