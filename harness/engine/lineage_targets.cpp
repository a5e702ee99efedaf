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
  TargetPlayer player;
  player.name = spec.process;
  player.place = place;
  MIGSOAK_ASSIGN(player.target, target::start_target(context_.reactor, context_.containment, std::move(spec)));
  auto ready = player.target->wait_ready(Deadline::in(seconds(context_.scenario.deadline.spawn_s)));
  targets_.push_back(std::move(player));
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
  for (const TargetPlayer& player : targets_) {
    if (player.target->spec().name == target.name && player.serves(side, slot)) {
      return player.target->connect(device, slot);
    }
  }
  return target::endpoint_of(target_spec(context_.scenario, target, {side, slot}, context_.run_dir), device, slot);
}

// Its QEMU has ended or is about to, and takes it along.
bool Lineage::ends_with_its_vm(const TargetPlayer& player) const {
  return !player.place.slot.empty() && std::any_of(vms_.begin(), vms_.end(), [&player](const Vm& qemu) {
    return qemu.slot == player.place.slot && (qemu.asked_to_quit || !qemu.machine->alive());
  });
}

void Lineage::end_targets_of(const std::string& slot, record::Journal& journal) {
  const auto grace = seconds(context_.scenario.deadline.quit_s);
  for (TargetPlayer& player : targets_) {
    if (player.place.slot != slot || player.lost) continue;
    target::Target& target = *player.target;
    const auto ended = [&target] { return target.child().exited(); };
    if (target.ends_with_client()) (void)context_.reactor.run_until(ended, Deadline::in(grace));
    const bool by_itself = ended();
    const proc::ExitStatus status = target.stop(grace);
    // One that serves a single QEMU ends when that goes, and says with its status whether all was well.
    const bool well = !by_itself || (target.ends_with_client() && status.success());
    if (well) {
      note_target_stopped(player, journal);
    } else {
      drain_logs(journal);
      note_unexpected_end(player.name, player.process_id, status, target.child().last_lines(), journal);
    }
  }
  targets_.remove_if([&slot](const TargetPlayer& player) { return player.place.slot == slot; });
}

void Lineage::note_target_stopped(TargetPlayer& player, record::Journal& journal) {
  drain_logs(journal);  // its lines go with it
  const proc::ChildProcess& child = player.target->child();
  const proc::ExitStatus status = child.exit_status().value_or(proc::ExitStatus{});
  record::ProcessEnd end;
  end.process_id = player.process_id;
  end.expected = true;
  end.exit_code = status.exit_code;
  end.signal = status.signal;
  end.core_dumped = status.core_dumped;
  end.last_lines = base::printable(base::join(child.last_lines(), " | "), 2000);
  journal.ended(std::move(end));
}

void Lineage::note_target_started(TargetPlayer& player, record::Journal& journal) {
  const std::string program = fs::path(target::program_of(player.target->spec())).filename();
  const hypervisor::ProcessIdentity process{player.target->pid(), player.target->child().start_ticks()};
  const record::ProcessInstance instance =
      register_process(player.name, process, program, journal.observation().iteration);
  journal.born(instance);
  player.process_id = instance.id;
  probes::adopt(probe_state_, {player.name, instance.id, player.target->pid(), {}});
}

void Lineage::sample_targets(record::Journal& journal) {
  constexpr seconds kAnswerMax{2};
  for (const TargetPlayer& player : targets_) {
    if (player.lost) continue;
    const auto figures = player.target->statistics(Deadline::in(kAnswerMax));
    if (!figures) continue;  // whoever waits for it next finds out
    for (const auto& [name, value] : *figures) {
      journal.sample(player.name, player.process_id, "target." + name, value);
    }
  }
}

}  // namespace migsoak::engine
