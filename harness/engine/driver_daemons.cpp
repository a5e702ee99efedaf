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
    note_started(instances_.emplace_back(DaemonInstance{daemon, daemon->name()}), journal);
  }
  if (begun) return {};
  const bool subjects =
      begun.error().kind == base::ErrorKind::subject || begun.error().kind == base::ErrorKind::timeout;
  for (const DaemonInstance& instance : instances_) {
    if (subjects && (blamed.empty() || !instance.daemon->alive())) blamed = instance.name;
  }
  return begun;
}

void DriverDaemons::note_started(DaemonInstance& instance, record::Journal& journal) {
  const hypervisor::ProcessIdentity identity = instance.daemon->process();
  record::ProcessInstance process = register_process(context_.recorder, instance.name, identity,
                                                     instance.daemon->program(), journal.observation().iteration);
  instance.process_id = process.id;
  journal.born(std::move(process));
  probes::adopt(probe_state_, {instance.name, instance.process_id, identity.pid, {}});
}

void DriverDaemons::note_stopped(const DaemonInstance& instance, record::Journal& journal) {
  journal.ended(process_end(instance.process_id, /*expected=*/true,
                            instance.daemon->exit_status().value_or(proc::ExitStatus{}),
                            instance.daemon->last_lines()));
}

Result<void> DriverDaemons::start_again(DaemonInstance& instance, record::Journal& journal) {
  Result<void> started = driver().start_again(*instance.daemon);
  if (started) {
    note_started(instance, journal);
  } else {
    instance.lost = true;  // there is no process of it whose end could be told
  }
  instance.restarting = false;
  return started;
}

Result<void> DriverDaemons::rejoin(DaemonInstance& instance, base::Deadline deadline) {
  return driver().rejoin(*instance.daemon, deadline);
}

bool DriverDaemons::note_unexpected_ends(record::Journal& journal) {
  bool any = false;
  for (DaemonInstance& instance : instances_) {
    const hypervisor::DriverDaemon& daemon = *instance.daemon;
    if (instance.lost || instance.restarting || daemon.alive()) continue;
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

DaemonInstance* DriverDaemons::live(const std::string& name) {
  const auto found = std::find_if(instances_.begin(), instances_.end(), [&name](const DaemonInstance& instance) {
    return instance.name == name && !instance.lost;
  });
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
