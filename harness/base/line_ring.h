// LineRing: the newest lines of a process or a guest, as many as one may keep, for two readers: who takes each once,
// and who shows the last of them as evidence.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

namespace migsoak::base {

class LineRing {
 public:
  static constexpr std::size_t kLineBytesMax = 400;  // as kept, once it is printable
  static constexpr std::size_t kLastLines = 40;

  explicit LineRing(std::size_t untaken_max) : untaken_max_(untaken_max) {}

  void push(std::string line) {
    last_.push_back(line);
    if (last_.size() > kLastLines) last_.pop_front();
    untaken_.push_back(std::move(line));
    if (untaken_.size() <= untaken_max_) return;
    note_dropped(untaken_.front().size() + 1);  // and the end of its line
    untaken_.pop_front();
  }
  void note_dropped(std::uint64_t bytes) { dropped_bytes_ += bytes; }

  std::vector<std::string> take() {
    std::vector<std::string> taken(std::make_move_iterator(untaken_.begin()), std::make_move_iterator(untaken_.end()));
    untaken_.clear();
    return taken;
  }
  // Of lines that nobody took in time, since the last call.
  std::uint64_t take_dropped_bytes() { return std::exchange(dropped_bytes_, 0); }
  std::vector<std::string> last() const { return {last_.begin(), last_.end()}; }

 private:
  std::size_t untaken_max_;
  std::deque<std::string> untaken_, last_;
  std::uint64_t dropped_bytes_ = 0;
};

}  // namespace migsoak::base
