// The targets of a lineage: those that serve it to its end, those that come and go with a VM, and those that end as
// asked and come back.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "base/text.h"
#include "engine/lineage.h"

namespace migsoak::engine {

using base::Deadline;
using base::Result;
using std::chrono::seconds;
namespace fs = std::filesystem;

Result<void> Lineage::start_target(const TargetScenario& scenario, const TargetPlace& place, record::Journal& journal) {
  target::TargetSpec spec = target_spec(context_.scenario, scenario, place, context_.run_dir);
  const std::string slot = place.slot.empty() ? "" : "." + place.slot;
  spec.log_file =
      fmt::format("{}/{}{}-l{}.log", context_.log_dir, base::join(base::split(spec.process, ':'), "-"), slot, number_);
  TargetInstance instance;
  instance.name = spec.process;
  instance.place = place;
  MIGSOAK_ASSIGN(instance.target, target::start_target(context_.reactor, context_.containment, std::move(spec)));
  auto ready = instance.target->wait_ready(Deadline::in(seconds(context_.scenario.deadline.spawn_s)));
  targets_.push_back(std::move(instance));
  note_target_started(targets_.back(), journal);
  return ready;
}

Result<void> Lineage::start_targets_of(const VmLaunch& prepared, record::Journal& journal) {
  for (const TargetScenario& target : context_.scenario.targets) {
    if (target.share != TargetShare::per_vm) continue;
    MIGSOAK_TRY(start_target(target, {prepared.spec.side, prepared.slot}, journal));
  }
  return {};
}

Result<target::Endpoint> Lineage::endpoint_for(const TargetScenario& target, const std::string& device,
                                               const std::string& side, const std::string& slot) const {
  for (const TargetInstance& instance : targets_) {
    if (instance.target->spec().name == target.name && instance.serves(side, slot)) {
      return instance.target->connect(device, slot);
    }
  }
  return target::endpoint_of(target_spec(context_.scenario, target, {side, slot}, context_.run_dir), device, slot);
}

// Its QEMU has ended or is about to, and takes it along.
bool Lineage::ends_with_its_vm(const TargetInstance& instance) const {
  return !instance.place.slot.empty() && std::any_of(vms_.begin(), vms_.end(), [&instance](const Vm& qemu) {
    return qemu.slot == instance.place.slot && (qemu.asked_to_quit || !qemu.machine->alive());
  });
}

void Lineage::end_targets_of(const std::string& slot, record::Journal& journal) {
  const auto grace = seconds(context_.scenario.deadline.quit_s);
  for (TargetInstance& instance : targets_) {
    if (instance.place.slot != slot || instance.lost) continue;
    target::Target& target = *instance.target;
    const auto ended = [&target] { return target.child().exited(); };
    if (target.ends_with_client()) (void)context_.reactor.run_until(ended, Deadline::in(grace));
    const bool by_itself = ended();
    const proc::ExitStatus status = target.stop(grace);
    // One that serves a single QEMU ends when that goes, and says with its status whether all was well.
    const bool well = !by_itself || (target.ends_with_client() && status.success());
    if (well) {
      note_target_stopped(instance, journal);
    } else {
      drain_logs(journal);
      note_unexpected_end(instance.name, instance.process_id, status, target.child().last_lines(), journal);
    }
  }
  targets_.remove_if([&slot](const TargetInstance& instance) { return instance.place.slot == slot; });
}

void Lineage::note_target_stopped(TargetInstance& instance, record::Journal& journal) {
  drain_logs(journal);  // its lines go with it
  const proc::ChildProcess& child = instance.target->child();
  const proc::ExitStatus status = child.exit_status().value_or(proc::ExitStatus{});
  record::ProcessEnd end;
  end.process_id = instance.process_id;
  end.expected = true;
  end.exit_code = status.exit_code;
  end.signal = status.signal;
  end.core_dumped = status.core_dumped;
  end.last_lines = base::printable(base::join(child.last_lines(), " | "), 2000);
  journal.ended(std::move(end));
}

void Lineage::note_target_started(TargetInstance& instance, record::Journal& journal) {
  const std::string program = fs::path(target::program_of(instance.target->spec())).filename();
  const hypervisor::ProcessIdentity identity{instance.target->pid(), instance.target->child().start_ticks()};
  const record::ProcessInstance process =
      register_process(instance.name, identity, program, journal.observation().iteration);
  journal.born(process);
  instance.process_id = process.id;
  probes::adopt(probe_state_, {instance.name, process.id, instance.target->pid(), {}});
}

void Lineage::sample_targets(record::Journal& journal) {
  constexpr seconds kAnswerMax{2};
  for (const TargetInstance& instance : targets_) {
    if (instance.lost) continue;
    const auto figures = instance.target->statistics(Deadline::in(kAnswerMax));
    if (!figures) continue;  // whoever waits for it next finds out
    for (const auto& [name, value] : *figures) {
      journal.sample(instance.name, instance.process_id, "target." + name, value);
    }
  }
}

}  // namespace migsoak::engine
