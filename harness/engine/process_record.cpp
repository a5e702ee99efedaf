#include "engine/process_record.h"

#include <fmt/format.h>

#include "base/text.h"
#include "proc/proc_fs.h"

namespace migsoak::engine {

namespace {

void record_unexpected_exit(const std::string& subject, std::int64_t process_id,
                            const std::optional<proc::ExitStatus>& status, const std::vector<std::string>& lines,
                            record::Journal& journal) {
  auto event = journal.event(record::event_kind::kUnexpectedExit, subject);
  std::string text =
      fmt::format("{} ended unasked: {}", subject, status ? proc::to_string(*status) : "nobody knows its status");
  if (!lines.empty()) text += "; last line: " + lines.back();
  event.process(process_id).text(text).detail({{"last_lines", lines}});
  if (!status) return;
  event.detail("core_dumped", status->core_dumped);
  if (status->signal != 0) {
    event.detail("signal", status->signal);
  } else {
    event.detail("exit_code", status->exit_code);
  }
}

}  // namespace

record::ProcessInstance register_process(Recorder& recorder, const std::string& name,
                                         const hypervisor::ProcessIdentity& process, const std::string& command,
                                         std::int64_t iteration) {
  record::ProcessInstance instance;
  instance.id = recorder.next_process_id();
  instance.name = name;
  instance.pid = process.pid;
  instance.start_ticks = process.start_ticks;
  instance.command = base::printable(command, 64);
  instance.born_iteration = iteration;
  instance.fd_limit = proc::read_nofile_limit(process.pid).value_or(0);
  return instance;
}

record::ProcessEnd process_end(std::int64_t id, bool expected, const proc::ExitStatus& status,
                               const std::vector<std::string>& last_lines) {
  record::ProcessEnd end;
  end.process_id = id;
  end.expected = expected;
  end.exit_code = status.exit_code;
  end.signal = status.signal;
  end.core_dumped = status.core_dumped;
  end.last_lines = base::printable(base::join(last_lines, " | "), 2000);
  return end;
}

void record_unexpected_end(const std::string& name, std::int64_t id, const std::optional<proc::ExitStatus>& status,
                           const std::vector<std::string>& last_lines, record::Journal& journal) {
  record_unexpected_exit(name, id, status, last_lines, journal);
  journal.ended(process_end(id, /*expected=*/false, status.value_or(proc::ExitStatus{}), last_lines));
}

}  // namespace migsoak::engine
