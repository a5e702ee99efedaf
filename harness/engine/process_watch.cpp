#include "engine/process_watch.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/hang_diagnosis.h"

namespace migsoak::engine {

using base::ErrorKind;
namespace kind = record::event_kind;

StepResult LineageWatch::check() {
  Lineage& lineage = iteration_.lineage;
  record::Journal& journal = iteration_.journal;
  if (lineage.context().stop.level() >= 2) return StepResult::interrupted;
  const bool had_guest = lineage.current() != nullptr;
  if (lineage.note_unexpected_ends(journal)) {
    const auto& vms = lineage.vms();
    const auto clear_when_gone = [&vms](Vm*& end) {
      const bool held = std::any_of(vms.begin(), vms.end(), [end](const Vm& p) { return &p == end; });
      if (!held) end = nullptr;
    };
    clear_when_gone(iteration_.ends.source);
    clear_when_gone(iteration_.ends.destination);
    clear_when_gone(iteration_.ends.next);
    if (had_guest && lineage.current() == nullptr) {
      const std::string why = "the QEMU it ran in ended";
      journal.event(kind::kGuestLost, "guest").text(why).detail({{"why", why}});
      return StepResult::guest_lost;
    }
    if (lineage.targets().any_lost() || lineage.daemons().any_lost()) return StepResult::guest_lost;
  }
  if (lineage.console().panicked()) {
    lineage.drain_logs(journal);
    journal.event(kind::kGuestPanic, "guest")
        .text("the guest's kernel or agent died")
        .detail({{"lines", lineage.console().last_lines()}});
    return StepResult::guest_lost;
  }
  return StepResult::ok;
}

StepResult LineageWatch::explain(const Trouble& trouble) {
  Lineage& lineage = iteration_.lineage;
  record::Journal& journal = iteration_.journal;
  if (trouble.if_ended && lineage.find(trouble.process_id) == nullptr) return *trouble.if_ended;
  if (lineage.context().stop.level() >= 2 || trouble.error.kind == ErrorKind::interrupted) {
    return StepResult::interrupted;
  }
  lineage.drain_logs(journal);
  const std::string why = trouble.error.describe();
  switch (trouble.error.kind) {
    case ErrorKind::timeout: return explain_timeout(trouble);
    case ErrorKind::subject:
      if (!lineage.note_unexpected_ends(journal)) {
        journal.event(kind::kUnexpectedExit, trouble.subject)
            .process(trouble.process_id)
            .text(why)
            .detail({{"why", why}});
      }
      return StepResult::guest_lost;
    default:
      journal.event(kind::kHarnessError, "harness")
          .text(why)
          .detail({{"kind", std::string(to_string(trouble.error.kind))}});
      return StepResult::harness_failed;
  }
}

StepResult LineageWatch::explain_timeout(const Trouble& trouble) {
  Lineage& lineage = iteration_.lineage;
  record::Journal& journal = iteration_.journal;
  const Stuck stuck = find_stuck(lineage);
  const bool known = !stuck.subject.empty();
  // Processes that ended explain the silence better than a hang does.
  if (!known && lineage.note_unexpected_ends(journal)) return StepResult::guest_lost;
  {
    auto event = journal.event(kind::kHang, known ? stuck.subject : trouble.subject);
    event.process(known ? stuck.process_id : trouble.process_id)
        .text(known ? fmt::format("{} {}; no {} in time", stuck.subject, stuck.why, trouble.waiting_for)
                    : fmt::format("no {}: {}", trouble.waiting_for, trouble.error.describe()))
        .detail(hang_evidence(lineage))
        .detail("waiting_for", trouble.waiting_for)
        .detail("waited_ms", journal.at_ms());
  }
  (void)lineage.note_unexpected_ends(journal);
  return StepResult::guest_lost;
}

}  // namespace migsoak::engine
