// What a lineage's processes and its guest say, as events.
#include <fmt/format.h>

#include <map>

#include "base/text.h"
#include "engine/lineage.h"

namespace migsoak::engine {

namespace {

struct Lines {
  std::string subject;
  std::int64_t process_id = 0;
  const char* kind;
  std::vector<std::string> lines;
  std::uint64_t dropped_bytes = 0;
};

void record_lines(const Lines& said, record::Journal& journal) {
  constexpr std::size_t kLinesMax = 50;  // per subject and call; a flood is counted, not kept
  std::map<std::string, std::int64_t> counts;
  for (const std::string& line : said.lines) ++counts[line];
  std::size_t kept = 0;
  for (const auto& [line, count] : counts) {
    if (++kept > kLinesMax) break;
    auto event = journal.event(said.kind, said.subject);
    event.process(said.process_id).text(line);
    if (count > 1) event.detail("count", count);
  }
  if (said.dropped_bytes == 0 && counts.size() <= kLinesMax) return;
  const std::size_t dropped = counts.size() > kLinesMax ? counts.size() - kLinesMax : 0;
  journal.event(record::event_kind::kOutputFlood, said.subject)
      .process(said.process_id)
      .text(fmt::format("{} flooded its output: {} bytes and {} different lines were not kept", said.subject,
                        said.dropped_bytes, dropped))
      .detail({{"bytes_dropped", said.dropped_bytes}, {"lines_dropped", dropped}});
}

}  // namespace

void Lineage::drain_logs(record::Journal& journal) {
  namespace kind = record::event_kind;
  const auto drain = [&](const std::string& name, std::int64_t id, auto& process) {
    record_lines({name, id, kind::kLogLine, process.take_lines(), process.take_dropped_bytes()}, journal);
  };
  for (const TargetInstance& instance : targets_.all())
    drain(instance.name, instance.process_id, instance.target->child());
  for (const DaemonInstance& instance : daemons_.all()) drain(instance.name, instance.process_id, *instance.daemon);
  for (Vm& vm : vms_) drain(vm.name, vm.process_id, *vm.machine);
  record_lines({"guest", 0, kind::kConsoleLine, console_.take_alarm_lines(), console_.take_dropped_bytes()}, journal);
  (void)console_.take_lines();  // kept in the console's log file; only alarms belong to the record
  for (const std::string& error : channel_.take_protocol_errors()) {
    journal.event(kind::kProtocolError, "guest").text("agent channel: " + error);
  }
  for (Vm& vm : vms_) {
    const std::string error = vm.machine->qmp().protocol_error();
    if (error.empty() || vm.protocol_error_reported) continue;
    vm.protocol_error_reported = true;
    journal.event(kind::kProtocolError, vm.name).process(vm.process_id).text("QMP: " + base::printable(error, 160));
  }
}

}  // namespace migsoak::engine
