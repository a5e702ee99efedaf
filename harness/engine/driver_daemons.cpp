#include "engine/driver_daemons.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "engine/process_record.h"

namespace migsoak::engine {

using base::Result;

DriverDaemons::DriverDaemons(const LaneContext& context, probes::ProbeState& probe_state)
    : context_(context), probe_state_(probe_state) {}

DriverDaemons::~DriverDaemons() {
  instances_.clear();
  if (begun_) driver().end_guest();
}

hypervisor::Driver& DriverDaemons::driver() const {
  return context_.drivers.named(context_.scenario.sides.front().driver);
}

Result<void> DriverDaemons::start(record::Journal& journal, std::string& blamed) {
  const Scenario& scenario = context_.scenario;
  hypervisor::GuestPlace place{context_.run_dir, context_.log_dir, {}};
  for (const SideScenario& side : scenario.sides) place.sides.push_back({side.name, side.libvirt_env});
  begun_ = true;
  auto begun = driver().begin_guest(place, base::Deadline::in(std::chrono::seconds(scenario.deadline.boot_s)));
  for (hypervisor::DriverDaemon* daemon : driver().daemons()) {
    const hypervisor::ProcessIdentity process = daemon->process();
    record::ProcessInstance instance = register_process(context_.recorder, daemon->name(), process, daemon->program(),
                                                        journal.observation().iteration);
    instances_.push_back({daemon, daemon->name(), instance.id, false});
    probes::adopt(probe_state_, {daemon->name(), instance.id, process.pid, {}});
    journal.born(std::move(instance));
  }
  if (begun) return {};
  const bool subjects =
      begun.error().kind == base::ErrorKind::subject || begun.error().kind == base::ErrorKind::timeout;
  for (const DaemonInstance& instance : instances_) {
    if (subjects && (blamed.empty() || !instance.daemon->alive())) blamed = instance.name;
  }
  return begun;
}

bool DriverDaemons::note_unexpected_ends(record::Journal& journal) {
  bool any = false;
  for (DaemonInstance& instance : instances_) {
    const hypervisor::DriverDaemon& daemon = *instance.daemon;
    if (instance.lost || daemon.alive()) continue;
    any = instance.lost = true;
    record_unexpected_end(instance.name, instance.process_id, daemon.exit_status(), daemon.last_lines(), journal);
  }
  return any;
}

std::vector<hypervisor::Driver::DaemonDomains> DriverDaemons::domains(base::Deadline deadline) const {
  if (instances_.empty()) return {};
  return driver().domains(deadline);
}

const DaemonInstance* DriverDaemons::find(const std::string& name) const {
  const auto found = std::find_if(instances_.begin(), instances_.end(),
                                  [&name](const DaemonInstance& instance) { return instance.name == name; });
  return found != instances_.end() ? &*found : nullptr;
}

const DaemonInstance* DriverDaemons::silent() const {
  if (instances_.empty()) return nullptr;
  const std::vector<std::string> silent = driver().silent_daemons();
  const auto found = std::find_if(instances_.begin(), instances_.end(), [&silent](const DaemonInstance& instance) {
    return !instance.lost && std::find(silent.begin(), silent.end(), instance.name) != silent.end();
  });
  return found != instances_.end() ? &*found : nullptr;
}

bool DriverDaemons::any_lost() const {
  return std::any_of(instances_.begin(), instances_.end(), [](const DaemonInstance& p) { return p.lost; });
}

}  // namespace migsoak::engine
