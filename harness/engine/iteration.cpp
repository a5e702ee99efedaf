#include "engine/iteration.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <utility>

#include "record/expected_trouble.h"

namespace migsoak::engine {

using base::Deadline;
using record::IterationStatus;
using std::chrono::seconds;
namespace kind = record::event_kind;

IterationRunner::IterationRunner(Lineage& lineage, record::Observation& into, base::Clock::time_point began,
                                 std::string next_side, StepListener* listener)
    : journal_(into, began),
      listener_(listener),
      reads_(journal_),
      context_{lineage, journal_, *ops::find_mode(into.plan.mode, lineage.context().scenario.driver()),
               {},      reads_,   Readings(lineage, journal_, reads_)},
      restart_runner_(lineage, journal_),
      verification_(lineage, journal_, restart_runner_, reads_),
      operations_(lineage, journal_, verification_),
      restarts_(context_, restart_runner_, verification_),
      destination_(context_, operations_, std::move(next_side)),
      peaks_(lineage, journal_),
      migration_(context_, {operations_, restarts_, destination_, verification_, peaks_}),
      quiet_point_(context_, peaks_),
      watch_(context_) {}

std::vector<Step> IterationRunner::boot_steps() {
  return {
      {"start the targets", "boot", {}, [this] { return start_targets(); }},
      {"start the first QEMU", "boot", {}, [this] { return spawn_first(); }},
      {"wait for the guest", "boot", {}, [this] { return wait_for_guest(); }},
      {"start its workload", "boot", {}, [this] { return start_workload(); }},
      {"the lineage begins", "boot", {}, [this] { return begin_lineage(); }},
  };
}

std::vector<Step> IterationRunner::iteration_steps() {
  const auto plugs = [this] { return !operations_.empty(); };
  const auto restarts = [this](const char* timing) { return [this, timing] { return restarts_.planned(timing); }; };
  const auto starts_before = [this] { return context_.starts_before(); };
  const Ends& ends = context_.ends;
  return {
      {"fail an upgrade", kind::kFailedUpgradePhase, [this] { return upgrade_is_to_fail(); },
       [this] { return attempt_upgrade(); }},
      {"restart targets between migrations", "restart", restarts("between"),
       [this] { return restarts_.run("between"); }},

      {"spawn the destination", "spawn", {}, [this] { return destination_.spawn(); }},
      {"plug and unplug", "hotplug", plugs, [this] { return operations_.run_settled(*context_.ends.source); }},
      {"read the device tree after it", nullptr, [this] { return has_plugged_before(); },
       [this] { return context_.readings.tree(context_.ends.source, "plugged"), StepResult::ok; }},
      {"raise the destination", "spawn", starts_before, [this] { return destination_.raise(); }},
      {"restart targets before the migration", "restart", restarts("before"),
       [this] { return restarts_.run("before"); }},
      {"is the destination still there", nullptr, starts_before, [this] { return destination_.still_there(); }},

      {"settle the guest's disks", "settle-disks", [this] { return !restarts_.planned("during"); },
       [this] { return restarts_.settle_disks(); }},
      {"plug and unplug, not waited for", "hotplug", plugs,
       [this] { return operations_.begin_at_once(*context_.ends.source); }},
      {"is the destination still there", nullptr, starts_before, [this] { return destination_.still_there(); }},
      {"match the destination's devices", nullptr, starts_before, [this] { return destination_.match_devices(); }},
      {"hold the migration for restarts", "migrate", restarts("during"), [this] { return restarts_.hold_migration(); }},
      {"migrate", "migrate", {}, [this] { return migration_.run(); }},
      {"end the source", "teardown", {}, [this] { return migration_.finish_source(); }},

      {"conclude plugs and unplugs", "hotplug", plugs,
       [this] { return operations_.conclude(*context_.ends.destination); }},
      {"begin to read the device tree",
       nullptr,
       {},
       [this] { return context_.readings.begin_tree(context_.ends.destination, "arrived"), StepResult::ok; }},
      {"read configuration space as it arrived", nullptr, [this] { return !context_.starts_before(); },
       [this] {
         context_.readings.config(context_.ends.destination, hypervisor::ReadPoint::arrived, /*running=*/true);
         return StepResult::ok;
       }},
      {"ask the daemons what they have",
       nullptr,
       {},
       [this] { return context_.readings.domains("arrived"), StepResult::ok; }},
      {"verify the guest", "verify", [this] { return verification_.wanted(); },
       [this] { return verification_.finish(); }},
      {"read configuration space in the guest", "look", [this] { return context_.scenario().config_space; },
       [this] { return read_config_by_guest(); }},
      {"raise the next destination", "raise-next", [&ends] { return ends.next != nullptr; },
       [this] { return destination_.finish_raising_next(); }},

      {"verify again after I/O errors", "verify", [this] { return restarts_.has_errors_to_confirm(); },
       [this] { return restarts_.verify_again(); }},
      {"judge I/O errors", nullptr, {}, [this] { return restarts_.conclude_errors(); }},
      // The guest has its disks verified as the migration left them, and once more as the restart did: only then does
      // the guest write on in between.
      {"restart targets after the migration", "restart", restarts("after"), [this] { return restarts_.run("after"); }},
      {"verify after the restart", "verify", [this] { return restarts_.planned("after") && verification_.wanted(); },
       [this] { return verification_.begin_and_finish(); }},
      {"verify again after I/O errors", "verify",
       [this] { return restarts_.planned("after") && restarts_.has_errors_to_confirm(); },
       [this] { return restarts_.verify_again(); }},
      {"judge I/O errors", nullptr, restarts("after"), [this] { return restarts_.conclude_errors(); }},

      {"wait for the quiet point", "quiet", {}, [this] { return quiet_point_.settle(); }},
      {"sample", "quiet", {}, [this] { return quiet_point_.sample(); }},
  };
}

std::vector<Step> IterationRunner::steps_on_source() {
  const Ends& ends = context_.ends;
  return {
      {"look at the source", nullptr, [this] { return migration_.failed(); },
       [this] { return migration_.look_at_source_after_failure(); }},
      {"hear the guest", "verify", {}, [this] { return hear_guest_on_source(); }},
      {"conclude plugs and unplugs", "hotplug",
       [this, &ends] { return !operations_.empty() && ends.source != nullptr; },
       [this] { return operations_.conclude(*context_.ends.source); }},
      {"ask the daemons what they have",
       nullptr,
       {},
       [this] { return context_.readings.domains("stayed"), StepResult::ok; }},
      {"verify the guest", "verify", [this] { return verification_.wanted(); },
       [this] { return verification_.begin_and_finish(); }},
      {"verify again after I/O errors", "verify", [this] { return restarts_.has_errors_to_confirm(); },
       [this] { return restarts_.verify_again(); }},
      {"judge I/O errors", nullptr, {}, [this] { return restarts_.conclude_errors(); }},
      {"raise the next destination", "raise-next", [&ends] { return ends.next != nullptr; },
       [this] { return destination_.finish_raising_next(); }},
      {"wait for the quiet point", "quiet", {}, [this] { return quiet_point_.settle(); }},
      {"sample", "quiet", {}, [this] { return quiet_point_.sample(); }},
  };
}

StepResult IterationRunner::run(bool boots) {
  if (boots) {
    const StepResult booted = run_steps(boot_steps(), journal_, watch_, listener_);
    if (booted != StepResult::ok) {
      conclude(booted);
      return booted;
    }
  }
  const StepResult result = move_guest();
  conclude(result);
  context_.lineage.drain_logs(journal_);
  restart_runner_.conclude();
  const IterationStatus status = journal_.observation().status;
  if (attempt_ && status != IterationStatus::unknown) attempt_->conclude(status == IterationStatus::completed);
  if (status != IterationStatus::unknown) record::record_what_did_not_happen(journal_);
  reads_.conclude();
  return result;
}

std::vector<std::string> IterationRunner::step_names() {
  std::vector<std::string> names;
  for (const std::vector<Step>& table : {boot_steps(), iteration_steps(), steps_on_source()}) {
    for (const Step& step : table) {
      if (std::find(names.begin(), names.end(), step.name) == names.end()) names.emplace_back(step.name);
    }
  }
  return names;
}

StepResult IterationRunner::move_guest() {
  context_.ends.source = context_.lineage.current();
  assert(context_.ends.source != nullptr);
  const StepResult result = run_steps(iteration_steps(), journal_, watch_, listener_);
  if (result != StepResult::stays_on_source) return result;
  const StepResult stayed = run_steps(steps_on_source(), journal_, watch_, listener_);
  return stayed == StepResult::ok ? StepResult::stays_on_source : stayed;
}

void IterationRunner::conclude(StepResult result) {
  IterationStatus& status = journal_.observation().status;
  switch (result) {
    case StepResult::ok: status = IterationStatus::completed; break;
    case StepResult::stays_on_source: status = IterationStatus::failed; break;
    case StepResult::guest_lost:
    case StepResult::ended_as_declared: status = IterationStatus::lost; break;
    case StepResult::interrupted:
    case StepResult::harness_failed: status = IterationStatus::unknown; break;
  }
}

StepOutcome IterationRunner::start_targets() {
  Lineage& lineage = context_.lineage;
  std::string blamed;
  const auto started = lineage.start_targets(journal_, blamed);
  if (started) return StepResult::ok;
  const TargetInstance* target = lineage.targets().find(blamed);
  const DaemonInstance* daemon = lineage.daemons().find(blamed);
  std::int64_t process_id = 0;
  if (target != nullptr) process_id = target->process_id;
  if (daemon != nullptr) process_id = daemon->process_id;
  return Trouble{blamed, process_id, as_subjects(started.error(), !blamed.empty()), "listening socket of " + blamed,
                 /*explained_by_ends=*/false};
}

StepOutcome IterationRunner::spawn_first() {
  Lineage& lineage = context_.lineage;
  const std::string& side = context_.plan().source_side;
  const std::string name = "qemu:" + side;
  const base::Result<Vm*> vm = lineage.spawn(lineage.prepare(side, nullptr, nullptr, lineage.devices()), journal_);
  if (!vm) {
    const bool has_wrapper = !context_.scenario().side(side).wrapper.empty();
    return Trouble{name, 0, as_subjects(vm.error(), has_wrapper), "start of " + name, /*explained_by_ends=*/false};
  }
  if (const auto ready = lineage.make_ready(**vm, context_.spawn_deadline()); !ready) {
    return Trouble{name, (*vm)->process_id, ready.error(), "QMP of " + name, /*explained_by_ends=*/false};
  }
  lineage.channel().make_active((*vm)->agent_stream);
  lineage.set_current(*vm);
  return StepResult::ok;
}

StepOutcome IterationRunner::wait_for_guest() {
  const auto deadline = Deadline::in(seconds(context_.scenario().deadline.boot_s));
  const base::Result<guest::Hello> hello = context_.lineage.channel().wait_hello(deadline);
  if (!hello) return Trouble{"guest", 0, hello.error(), "hello of the guest's agent"};
  hello_ = *hello;
  return StepResult::ok;
}

StepOutcome IterationRunner::start_workload() {
  const GuestScenario& guest = context_.scenario().guest;
  guest::WorkloadSpec workload;
  workload.kind = guest.workload == "idle"    ? guest::Workload::idle
                  : guest.workload == "dirty" ? guest::Workload::dirty
                                              : guest::Workload::verify;
  workload.ram_bytes = guest.ram_verify_bytes;
  workload.dirty_bytes_per_s = guest.dirty_bytes_per_s;
  workload.disk_bytes_per_s = guest.disk_bytes_per_s;
  workload.disk_queue_depth = guest.queue_depth;
  workload.seed = context_.scenario().seed;
  if (const auto started = context_.lineage.channel().start_workload(workload, context_.answer_deadline()); !started) {
    return Trouble{"guest", 0, started.error(), "start of the guest's workload"};
  }
  return operations_.adopt_boot_disks();
}

StepOutcome IterationRunner::begin_lineage() {
  Lineage& lineage = context_.lineage;
  const std::string& side = context_.plan().source_side;
  (void)lineage.channel().take_gap();
  journal_.event(kind::kLineageStart, "guest")
      .text(fmt::format("lineage {} boots on side {}", lineage.number(), side))
      .detail({{"boot_side", side},
               {"boot_ms", journal_.at_ms()},
               {"machine_type", lineage.machine()},
               {"kernel", hello_.kernel},
               {"agent", hello_.agent_version}});
  context_.readings.tree(lineage.current(), "source");
  return StepResult::ok;
}

bool IterationRunner::upgrade_is_to_fail() const {
  const record::Plan& plan = context_.plan();
  const ops::UpgradeFailure* failure = ops::find_upgrade_failure(plan.upgrade_failure);
  // An iteration that had to turn round (a guest that was not where the plan has it) may have none of it.
  return failure != nullptr && ops::applies(*failure, context_.mode, plan.transport);
}

StepOutcome IterationRunner::attempt_upgrade() {
  Lineage& lineage = context_.lineage;
  destination_.retire_unused();
  if (const auto settled = restarts_.ask_to_settle(); !settled) {
    return Trouble{"guest", 0, settled.error(), "settling of the guest's disks"};
  }
  attempt_ = std::make_unique<UpgradeAttempt>(context_, *ops::find_upgrade_failure(context_.plan().upgrade_failure),
                                              verification_);
  const base::Result<Vm*> guest_in = attempt_->run(*context_.ends.source);
  context_.ends.source = guest_in ? *guest_in : nullptr;
  if (!guest_in) {
    return Trouble{"harness", 0, guest_in.error(), "end of an upgrade that was made to fail",
                   /*explained_by_ends=*/false};
  }
  if (context_.ends.source == nullptr) {
    (void)lineage.note_unexpected_ends(journal_);
    return StepResult::guest_lost;
  }
  journal_.observation().plan.source_side = context_.ends.source->machine->spec().side;
  return StepResult::ok;
}

// What the plan plugged, as the QEMU has it that did so: the destination must have the same.
bool IterationRunner::has_plugged_before() const {
  const auto& operations = context_.plan().operations;
  return std::any_of(operations.begin(), operations.end(),
                     [](const record::PlannedOperation& operation) { return operation.timing == "settled"; });
}

// A guest that does not answer shows elsewhere too.
StepOutcome IterationRunner::read_config_by_guest() {
  const auto read = context_.readings.config_by_guest();
  if (read) return StepResult::ok;
  return Trouble{"guest", 0, read.error(), "configuration space as the guest sees it"};
}

StepOutcome IterationRunner::hear_guest_on_source() {
  const auto beat = context_.lineage.channel().wait_next_heartbeat(context_.answer_deadline());
  if (beat) return StepResult::ok;
  return Trouble{"guest", 0, beat.error(), "heartbeat of the guest after the failed migration"};
}

}  // namespace migsoak::engine
