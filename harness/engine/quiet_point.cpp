#include "engine/quiet_point.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "proc/proc_fs.h"

namespace migsoak::engine {

namespace kind = record::event_kind;

namespace {
// The guest needs this long for the first sign of life at the most, however slow the machine.
constexpr std::chrono::seconds kSettleMax{3};
}  // namespace

void DescriptorPeaks::sample() {
  for (const TargetInstance* instance : lineage_.targets().live()) {
    const int count = proc::count_fds(instance->target->pid()).value_or(0);
    int& peak = peaks_[instance->process_id];
    peak = std::max(peak, count);
  }
}

void DescriptorPeaks::record() const {
  for (const auto& [process_id, peak] : peaks_) {
    const TargetInstance* instance = lineage_.targets().find(process_id);
    if (instance != nullptr) journal_.sample(instance->name, process_id, "fd.peak", peak);
  }
}

StepOutcome QuietPoint::settle() {
  Lineage& lineage = iteration_.lineage;
  settled_ = wait_quiet(lineage, lineage.hung_up_sockets, base::Deadline::in(kSettleMax));
  if (settled_.interrupted) return StepResult::interrupted;
  lineage.hung_up_sockets = settled_.hung_up_sockets;
  iteration_.journal.sample("host", 0, "settle_ms", settled_.took_ms);
  return StepResult::ok;
}

StepOutcome QuietPoint::sample() {
  Lineage& lineage = iteration_.lineage;
  record::Journal& journal = iteration_.journal;
  const LaneContext& context = lineage.context();
  iteration_.readings.finish_tree();  // the answer came while counts settled, at the latest
  journal.observation().context = fmt::format("qemus={}", lineage.vms().size());
  if (!settled_.settled) {
    for (const TargetInstance& instance : lineage.targets().all()) {
      journal.event(kind::kUnsettled, instance.name)
          .process(instance.process_id)
          .text("descriptors still changed at the quiet point");
    }
  }
  probes::Scene scene = lineage.scene();
  scene.since_iteration_start_ms = journal.at_ms();
  // With several lanes the harness's counts depend on what the others do at this moment: not comparable.
  if (context.lanes == 1) {
    scene.subjects.push_back({"harness", context.harness.id, getpid(), lineage.known_pids()});
    scene.subjects.back().own_children.insert(scene.guardian_pid);
  }
  probes::run_probes(scene, lineage.probe_state(), journal.observation());
  lineage.targets().sample(journal);
  iteration_.reads.done("samples");
  iteration_.reads.done("sockets");
  for (const SettleReport::Unread& unread : settled_.unread) {
    iteration_.reads.failed("sockets", unread.subject, unread.process_id, unread.why);
  }
  peaks_.record();
  for (const std::string& target : settled_.targets_without_guest) {
    const std::string why = "dropped its client: the guest's QEMU has no connection to it any more";
    journal.event(kind::kTargetLost, target).text(target + " " + why).detail({{"why", why}});
    return StepResult::guest_lost;
  }
  return StepResult::ok;
}

void sample_before_teardown(Lineage& lineage, record::Journal& journal, const Vm& vm) {
  probes::Scene scene = lineage.scene();
  scene.phase = journal.phase();
  scene.since_iteration_start_ms = journal.at_ms();
  std::erase_if(scene.subjects, [&](const probes::Subject& s) { return s.process_id != vm.process_id; });
  probes::look_before_teardown(scene, lineage.probe_state(), journal.observation());
}

}  // namespace migsoak::engine
