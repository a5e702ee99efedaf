// ConsoleText: console bytes to bounded, printable lines, with the alarming ones picked out. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/line_ring.h"

namespace migsoak::guest {

enum class Alarm { none, hurt, fatal };
Alarm alarm_of(std::string_view line);

class ConsoleText {
 public:
  // Returns the lines that these bytes completed, as kept.
  std::vector<std::string> add_bytes(std::string_view bytes);

  std::vector<std::string> take_lines() { return lines_.take(); }
  std::uint64_t take_dropped_bytes() { return lines_.take_dropped_bytes(); }
  bool panicked() const { return panicked_; }
  std::vector<std::string> take_alarm_lines();
  std::vector<std::string> last_lines() const { return lines_.last(); }

 private:
  void finish_line(std::vector<std::string>& finished);

  std::string pending_;
  std::uint64_t pending_cut_ = 0;
  base::LineRing lines_{200};
  std::vector<std::string> alarms_;
  bool panicked_ = false;
};

}  // namespace migsoak::guest
