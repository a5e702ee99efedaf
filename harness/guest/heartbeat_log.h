// HeartbeatLog: the heartbeats of one guest in the order of arrival, and the longest silence between them. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string_view>

#include "guest/channel.h"

namespace migsoak::guest {

class HeartbeatLog {
 public:
  enum class Outcome { not_a_heartbeat, noted, out_of_order };
  // "H <sequence> <guest ns>", both in hex. A sequence number that does not grow is out_of_order: two QEMUs run the
  // same guest, or its state went back in time.
  Outcome take_line(int stream, std::string_view text, base::Clock::time_point arrived);

  std::optional<Heartbeat> last() const { return last_; }
  std::optional<Heartbeat> first_on(int stream) const;
  std::uint64_t count_on(int stream) const;
  std::uint64_t count() const { return count_; }
  HeartbeatGap take_gap();

 private:
  std::optional<Heartbeat> last_;
  struct OnStream {
    Heartbeat first;
    std::uint64_t count = 0;
  };
  std::map<int, OnStream> streams_;  // the youngest few
  std::uint64_t count_ = 0;
  HeartbeatGap gap_;
};

}  // namespace migsoak::guest
