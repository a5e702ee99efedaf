#include "guest/heartbeat_log.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <utility>

namespace migsoak::guest {

namespace {

constexpr std::uint64_t kLostMax = 1'000'000'000;  // a hostile sequence number must not overflow a sum

constexpr std::size_t kStreamsKept = 64;  // a lineage has thousands of streams, a few at a time

std::optional<std::uint64_t> parse_hex(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

HeartbeatLog::Outcome HeartbeatLog::take_line(int stream, std::string_view text, base::Clock::time_point arrived) {
  if (text.substr(0, 2) != "H ") return Outcome::not_a_heartbeat;
  text.remove_prefix(2);
  const std::size_t space = text.find(' ');
  if (space == std::string_view::npos) return Outcome::not_a_heartbeat;
  const auto sequence = parse_hex(text.substr(0, space));
  const auto guest_ns = parse_hex(text.substr(space + 1));
  if (!sequence || !guest_ns) return Outcome::not_a_heartbeat;

  Heartbeat beat;
  beat.sequence = *sequence;
  beat.guest_ns =
      static_cast<std::int64_t>(std::min<std::uint64_t>(*guest_ns, std::numeric_limits<std::int64_t>::max()));
  beat.arrived = arrived;
  beat.stream = stream;
  const std::optional<Heartbeat> before = std::exchange(last_, beat);
  ++streams_.try_emplace(stream, OnStream{beat, 0}).first->second.count;
  if (streams_.size() > kStreamsKept) streams_.erase(streams_.begin());
  ++count_;
  if (!before) return Outcome::noted;
  gap_.host_ms = std::max(gap_.host_ms, base::milliseconds_between(before->arrived, arrived));
  gap_.guest_ms =
      std::max(gap_.guest_ms, (static_cast<double>(beat.guest_ns) - static_cast<double>(before->guest_ns)) / 1e6);
  if (beat.sequence <= before->sequence) return Outcome::out_of_order;
  gap_.lost = std::min(gap_.lost + std::min(beat.sequence - before->sequence - 1, kLostMax), kLostMax);
  return Outcome::noted;
}

std::uint64_t HeartbeatLog::count_on(int stream) const {
  const auto it = streams_.find(stream);
  return it == streams_.end() ? 0 : it->second.count;
}

std::optional<Heartbeat> HeartbeatLog::first_on(int stream) const {
  const auto it = streams_.find(stream);
  return it == streams_.end() ? std::nullopt : std::optional(it->second.first);
}

HeartbeatGap HeartbeatLog::take_gap() {
  return std::exchange(gap_, HeartbeatGap{});
}

}  // namespace migsoak::guest
