#include "engine/guest_targets.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "base/text.h"
#include "engine/process_record.h"

namespace migsoak::engine {

using base::Deadline;
using base::Result;
using std::chrono::seconds;
namespace fs = std::filesystem;

GuestTargets::GuestTargets(const LaneContext& context, int lineage, probes::ProbeState& probe_state)
    : context_(context), lineage_(lineage), probe_state_(probe_state) {}

GuestTargets::~GuestTargets() {
  for (TargetInstance& instance : instances_) instance.target->stop(seconds(3));
}

Result<void> GuestTargets::start_lasting(record::Journal& journal, std::string& blamed) {
  for (const TargetScenario& target : context_.scenario.targets) {
    for (const TargetPlace& place : target_places(context_.scenario, target)) {
      if (!place.slot.empty()) continue;
      blamed = target_process_name(target, place.side);
      MIGSOAK_TRY(start(target, place, journal));
    }
  }
  blamed.clear();
  return {};
}

Result<void> GuestTargets::start_for(const TargetPlace& vm, record::Journal& journal) {
  for (const TargetScenario& target : context_.scenario.targets) {
    if (target.share != TargetShare::per_vm) continue;
    MIGSOAK_TRY(start(target, vm, journal));
  }
  return {};
}

Result<void> GuestTargets::start(const TargetScenario& scenario, const TargetPlace& place, record::Journal& journal) {
  target::TargetSpec spec = target_spec(context_.scenario, scenario, place, context_.run_dir);
  const std::string slot = place.slot.empty() ? "" : "." + place.slot;
  spec.log_file =
      fmt::format("{}/{}{}-l{}.log", context_.log_dir, base::join(base::split(spec.process, ':'), "-"), slot, lineage_);
  MIGSOAK_ASSIGN(auto target, target::start_target(context_.reactor, context_.containment, std::move(spec)));
  auto ready = target->wait_ready(Deadline::in(seconds(context_.scenario.deadline.spawn_s)));
  note_started(hold(std::move(target), place), journal);
  return ready;
}

TargetInstance& GuestTargets::hold(std::unique_ptr<target::Target> target, const TargetPlace& place) {
  TargetInstance& instance = instances_.emplace_back();
  instance.name = target->spec().process;
  instance.target = std::move(target);
  instance.place = place;
  return instance;
}

bool GuestTargets::stop(TargetInstance& instance) {
  const auto grace = seconds(context_.scenario.deadline.quit_s);
  target::Target& target = *instance.target;
  const auto ended = [&target] { return target.child().exited(); };
  if (target.ends_with_client()) (void)context_.reactor.run_until(ended, Deadline::in(grace));
  const bool by_itself = ended();
  const proc::ExitStatus status = target.stop(grace);
  return !by_itself || (target.ends_with_client() && status.success());
}

void GuestTargets::forget(const std::string& slot) {
  instances_.remove_if([&slot](const TargetInstance& instance) { return instance.place.slot == slot; });
}

void GuestTargets::note_stopped(const TargetInstance& instance, record::Journal& journal) {
  const proc::ChildProcess& child = instance.target->child();
  journal.ended(process_end(instance.process_id, /*expected=*/true, child.exit_status().value_or(proc::ExitStatus{}),
                            child.last_lines()));
}

void GuestTargets::note_started(TargetInstance& instance, record::Journal& journal) {
  const std::string program = fs::path(target::program_of(instance.target->spec())).filename();
  const hypervisor::ProcessIdentity identity{instance.target->pid(), instance.target->child().start_ticks()};
  record::ProcessInstance process =
      register_process(context_.recorder, instance.name, identity, program, journal.observation().iteration);
  instance.process_id = process.id;
  journal.born(std::move(process));
  probes::adopt(probe_state_, {instance.name, instance.process_id, instance.target->pid(), {}});
}

void GuestTargets::note_lost(TargetInstance& instance, record::Journal& journal) {
  instance.lost = true;
  const proc::ChildProcess& child = instance.target->child();
  record_unexpected_end(instance.name, instance.process_id, child.exit_status(), child.last_lines(), journal);
}

void GuestTargets::sample(record::Journal& journal) const {
  constexpr seconds kAnswerMax{2};
  for (const TargetInstance* instance : live()) {
    const auto figures = instance->target->statistics(Deadline::in(kAnswerMax));
    if (!figures) continue;  // whoever waits for it next finds out
    for (const auto& [name, value] : *figures) {
      journal.sample(instance->name, instance->process_id, "target." + name, value);
    }
  }
}

std::vector<const TargetInstance*> GuestTargets::live() const {
  std::vector<const TargetInstance*> found;
  for (const TargetInstance& instance : instances_) {
    if (!instance.lost) found.push_back(&instance);
  }
  return found;
}

std::vector<TargetInstance*> GuestTargets::live_of(const std::string& target) {
  std::vector<TargetInstance*> found;
  for (TargetInstance& instance : instances_) {
    if (!instance.lost && instance.target->spec().name == target) found.push_back(&instance);
  }
  return found;
}

std::vector<TargetInstance*> GuestTargets::live_in(const std::string& slot) {
  std::vector<TargetInstance*> found;
  for (TargetInstance& instance : instances_) {
    if (!instance.lost && instance.place.slot == slot) found.push_back(&instance);
  }
  return found;
}

std::vector<TargetInstance*> GuestTargets::ended() {
  std::vector<TargetInstance*> found;
  for (TargetInstance& instance : instances_) {
    if (instance.has_ended()) found.push_back(&instance);
  }
  return found;
}

bool GuestTargets::any_ended() const {
  return std::any_of(instances_.begin(), instances_.end(), [](const TargetInstance& p) { return p.has_ended(); });
}

bool GuestTargets::any_lost() const {
  return std::any_of(instances_.begin(), instances_.end(), [](const TargetInstance& p) { return p.lost; });
}

const TargetInstance* GuestTargets::find(const std::string& name) const {
  const auto found = std::find_if(instances_.begin(), instances_.end(),
                                  [&name](const TargetInstance& instance) { return instance.name == name; });
  return found != instances_.end() ? &*found : nullptr;
}

const TargetInstance* GuestTargets::find(std::int64_t process_id) const {
  const auto found = std::find_if(instances_.begin(), instances_.end(), [process_id](const TargetInstance& instance) {
    return instance.process_id == process_id;
  });
  return found != instances_.end() ? &*found : nullptr;
}

Result<target::Endpoint> GuestTargets::endpoint_for(const TargetScenario& target, const std::string& device,
                                                    const TargetPlace& vm) const {
  for (const TargetInstance& instance : instances_) {
    if (instance.target->spec().name == target.name && instance.serves(vm.side, vm.slot)) {
      return instance.target->connect(device, vm.slot);
    }
  }
  return target::endpoint_of(target_spec(context_.scenario, target, vm, context_.run_dir), device, vm.slot);
}

bool GuestTargets::have_spare_slots() const {
  return std::all_of(instances_.begin(), instances_.end(), [](const TargetInstance& instance) {
    return !instance.place.slot.empty() || instance.target->has_spare_slots();
  });
}

}  // namespace migsoak::engine
