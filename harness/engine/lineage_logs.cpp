// What a lineage's processes and its guest say, as events.
#include <fmt/format.h>

#include <map>

#include "base/text.h"
#include "engine/lineage.h"

namespace migsoak::engine {

void Lineage::record_lines(const std::string& subject, std::int64_t process_id, const std::vector<std::string>& lines,
                           std::uint64_t dropped_bytes, const char* kind, record::Observation& into,
                           const std::string& phase, double at_ms) {
  constexpr std::size_t kLinesMax = 50;  // per subject and call; a flood is counted, not kept
  std::map<std::string, std::int64_t> counts;
  for (const std::string& line : lines) ++counts[line];
  std::size_t kept = 0;
  for (const auto& [line, count] : counts) {
    if (++kept > kLinesMax) break;
    record::Event event;
    event.kind = kind;
    event.subject = subject;
    event.process_id = process_id;
    event.phase = phase;
    event.at_ms = at_ms;
    event.text = line;
    if (count > 1) event.detail["count"] = count;
    into.events.push_back(std::move(event));
  }
  if (dropped_bytes == 0 && counts.size() <= kLinesMax) return;
  record::Event flood;
  flood.kind = record::event_kind::kOutputFlood;
  flood.subject = subject;
  flood.process_id = process_id;
  flood.phase = phase;
  flood.at_ms = at_ms;
  flood.text = fmt::format("{} flooded its output: {} bytes and {} different lines were not kept", subject,
                           dropped_bytes, counts.size() > kLinesMax ? counts.size() - kLinesMax : 0);
  flood.detail = {{"bytes_dropped", dropped_bytes},
                  {"lines_dropped", counts.size() > kLinesMax ? counts.size() - kLinesMax : 0}};
  into.events.push_back(std::move(flood));
}

void Lineage::drain_logs(record::Observation& into, const std::string& phase, double at_ms) {
  const auto drain = [&](const std::string& name, std::int64_t id, proc::ChildProcess& child) {
    record_lines(name, id, child.take_lines(), child.take_dropped_bytes(), record::event_kind::kLogLine, into, phase,
                 at_ms);
  };
  for (TargetPlayer& player : targets_) drain(player.name, player.process_id, player.target->child());
  for (Player& player : players_) drain(player.name, player.process_id, player.machine->child());
  record_lines("guest", 0, console_.take_alarm_lines(), console_.take_dropped_bytes(), record::event_kind::kConsoleLine,
               into, phase, at_ms);
  (void)console_.take_lines();  // kept in the console's log file; only alarms belong to the record
  for (const std::string& error : channel_.take_protocol_errors()) {
    record::Event event;
    event.kind = record::event_kind::kProtocolError;
    event.subject = "guest";
    event.phase = phase;
    event.at_ms = at_ms;
    event.text = "agent channel: " + error;
    into.events.push_back(std::move(event));
  }
  for (Player& player : players_) {
    const std::string error = player.machine->qmp().protocol_error();
    if (error.empty() || player.protocol_error_told) continue;
    player.protocol_error_told = true;
    record::Event event;
    event.kind = record::event_kind::kProtocolError;
    event.subject = player.name;
    event.process_id = player.process_id;
    event.phase = phase;
    event.at_ms = at_ms;
    event.text = "QMP: " + base::printable(error, 160);
    into.events.push_back(std::move(event));
  }
}

}  // namespace migsoak::engine
