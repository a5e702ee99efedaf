#include "engine/restart_steps.h"

#include <string>
#include <utility>
#include <vector>

#include "base/text.h"
#include "engine/hang_diagnosis.h"
#include "hypervisor/device_type.h"
#include "qmp/repeated_query.h"

namespace migsoak::engine {

using base::Deadline;
using base::Result;

namespace {
// So slow that a migration does not come to its end by itself; the guest writes faster.
constexpr std::int64_t kHeldBytesPerS = 1 << 20;
constexpr std::int64_t kUnderWayBytes = 64 << 10;
// Bytes sent are announced by nobody.
constexpr std::chrono::milliseconds kUnderWayEvery{1};

// Or it is over: a mode is about to see that, and there is no "during" any more.
bool is_under_way(const base::Json& query_migrate) {
  const auto status = base::json_get<std::string>(query_migrate, "status", "");
  if (status == "failed" || status == "cancelled" || status == "completed") return true;
  const base::Json ram = base::json_get(query_migrate, "ram", base::Json::object());
  return status == "active" && base::json_get<std::int64_t>(ram, "transferred", 0) > kUnderWayBytes;
}

// PCI addresses of disks whose writes are settled before a switch-over (device.io).
std::vector<std::string> disks_to_settle(const Scenario& scenario, const hypervisor::DeviceSet& devices) {
  std::vector<std::string> addresses;
  for (const hypervisor::DeviceSpec& device : devices) {
    bool settled = hypervisor::endpoint_of(device.type).has_value();
    if (const DeviceScenario* cold = scenario.find_device(device.id)) settled = !cold->io_through;
    if (settled && hypervisor::is_disk_type(device.type)) addresses.push_back(hypervisor::pci_address(devices, device));
  }
  return addresses;
}

}  // namespace

StepOutcome RestartSteps::run(const std::string& timing) {
  const Result<void> done = restarts_.run(timing);
  return done ? StepResult::ok : give_up(done.error());
}

StepOutcome RestartSteps::give_up(const base::Error& error) const {
  const RestartRunner::Trouble& trouble = restarts_.trouble();
  if (!trouble.subject.empty()) {
    return Trouble{trouble.subject, trouble.process_id, error, trouble.waiting_for, /*explained_by_ends=*/false};
  }
  // None was begun.
  const Vm* source = iteration_.ends.source;
  return Trouble{source != nullptr ? source->name : "guest", source != nullptr ? source->process_id : 0, error,
                 "migration under way, for a restart during it", /*explained_by_ends=*/false};
}

Result<void> RestartSteps::ask_to_settle() {
  const std::vector<std::string> addresses = disks_to_settle(iteration_.scenario(), iteration_.lineage.devices());
  if (addresses.empty() || !verification_.wanted()) return {};
  constexpr std::int64_t kPatienceMs = 5000;
  MIGSOAK_ASSIGN(const base::Json answer,
                 iteration_.lineage.channel().command(
                     "settle_disks", {{"pci_addresses", base::join(addresses, ",")}, {"timeout_ms", kPatienceMs}},
                     iteration_.answer_deadline()));
  // Without a restart in this iteration a disk that does not settle shows in the verification.
  if (!base::json_get<bool>(answer, "idle", true)) restarts_.note_stalled(kPatienceMs, addresses);
  return {};
}

StepOutcome RestartSteps::settle_disks() {
  if (const Result<void> settled = ask_to_settle(); !settled) {
    return Trouble{"guest", 0, settled.error(), "settling of the guest's disks"};
  }
  return restarts_.lost_as_declared() ? end_guest_as_declared() : StepResult::ok;
}

// The restarted daemon repeated requests that were done, the guest found its queue broken, and the disk stopped
// answering. That was declared: it ends this guest's life as planned.
StepOutcome RestartSteps::end_guest_as_declared() {
  iteration_.journal.begin_phase("restart");
  Lineage& lineage = iteration_.lineage;
  // A destination may have ended, refusing the broken queue; that the target ends again was not declared, and the check
  // that follows tells of it.
  if (lineage.targets().any_ended()) return StepResult::ok;
  // Requests that are never answered are declared of those targets alone. Who hangs besides them is to blame.
  const Stuck stuck = find_stuck(lineage, restarts_.targets_allowed_errors());
  if (!stuck.subject.empty()) {
    return Trouble{stuck.subject,
                   stuck.process_id,
                   {base::ErrorKind::timeout, stuck.why, {}},
                   "answer to the guest's requests after a restart",
                   /*explained_by_ends=*/false};
  }
  lineage.drain_logs(iteration_.journal);
  restarts_.note_ended_guest();
  iteration_.end_guest();
  return StepResult::ended_as_declared;
}

StepOutcome RestartSteps::hold_migration() {
  // The destination ended, which is on record: no migration will release the hold.
  if (iteration_.starts_before() && iteration_.ends.destination == nullptr) return StepResult::stays_on_source;
  const Deadline deadline = iteration_.answer_deadline();
  Vm& source = *iteration_.ends.source;
  const auto limited = [&]() -> Result<void> {
    qmp::Monitor& client = source.machine->qmp();
    MIGSOAK_ASSIGN(const base::Json parameters,
                   client.execute("query-migrate-parameters", base::Json::object(), deadline));
    full_bandwidth_ = base::json_get<std::int64_t>(parameters, "max-bandwidth", 0);
    MIGSOAK_TRY(client.execute("migrate-set-parameters", {{"max-bandwidth", kHeldBytesPerS}}, deadline));
    return {};
  }();
  if (limited) return StepResult::ok;
  return Trouble{source.name, source.process_id, limited.error(), "QMP of " + source.name};
}

// RAM is being sent, and what the target writes is logged: a target that goes while QEMU asks it to log is another
// case, which QEMU 7.2 does not survive (hw/virtio/vhost.c, vhost_log_global_start: abort).
Result<void> RestartSteps::wait_until_active() {
  qmp::RepeatedQuery query(iteration_.ends.source->machine->qmp(), "query-migrate", kUnderWayEvery);
  Result<void> active;
  const auto over = [&] {
    const Result<base::Json>* answer = query.poll();
    if (answer == nullptr) return false;
    if (!*answer) active = tl::unexpected<base::Error>(answer->error());
    return !*answer || is_under_way(**answer);
  };
  switch (iteration_.lineage.context().reactor.run_until(over, iteration_.answer_deadline(), kUnderWayEvery)) {
    case proc::Wait::ready: return active;
    case proc::Wait::interrupted: return base::fail(base::ErrorKind::interrupted, "stopped before a restart");
    case proc::Wait::timeout: break;
  }
  return base::fail(base::ErrorKind::timeout, "the migration does not get under way");
}

void RestartSteps::run_during() {
  if (!planned("during")) return;
  const record::PhaseScope restart(iteration_.journal, "restart");
  during_ = wait_until_active();
  if (during_) during_ = restarts_.run("during");
  if (during_) during_ = ask_to_settle();
  qmp::Monitor& client = iteration_.ends.source->machine->qmp();
  const auto freed =
      client.execute("migrate-set-parameters", {{"max-bandwidth", full_bandwidth_}}, iteration_.answer_deadline());
  if (during_ && !freed) during_ = tl::unexpected(freed.error());
}

std::optional<StepOutcome> RestartSteps::conclude_during() {
  if (!during_) {
    // The source ended before any restart began: the migration tells of that.
    const Vm* source = iteration_.ends.source;
    const bool begun = !restarts_.trouble().subject.empty();
    if (!begun && source != nullptr && !source->machine->alive()) return std::nullopt;
    return give_up(during_.error());
  }
  if (restarts_.lost_as_declared()) return end_guest_as_declared();
  return std::nullopt;
}

StepOutcome RestartSteps::verify_again() {
  errors_before_ = restarts_.declared_errors();
  return verification_.begin_and_finish();
}

StepOutcome RestartSteps::conclude_errors() {
  const std::optional<std::uint64_t> before = std::exchange(errors_before_, std::nullopt);
  if (before && restarts_.declared_errors() > *before) restarts_.note_lasting();
  return restarts_.lost_as_declared() ? end_guest_as_declared() : StepResult::ok;
}

}  // namespace migsoak::engine
