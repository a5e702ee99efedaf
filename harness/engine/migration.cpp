#include "engine/migration.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cassert>
#include <utility>

#include "plan/route_plan.h"
#include "record/expected_trouble.h"

namespace migsoak::engine {

using base::Deadline;
using ops::MigrationResult;
using ops::ProcessOrder;
using std::chrono::seconds;
namespace kind = record::event_kind;

void Migration::settings_sent(ops::End end, const ops::SentSettings& settings) {
  settings_[ops::to_string(end)] = {{"capabilities", settings.capabilities}, {"parameters", settings.parameters}};
}

void Migration::channel_opened(const base::Json& arguments) {
  channel_ = arguments;
}

void Migration::started() {
  started_ = base::Clock::now();
  with_.operations.send_refused(*ends_.source);
  with_.restarts.run_during();
}

void Migration::progress() {
  with_.peaks.sample();
  const double passed_ms = base::milliseconds_between(began_, base::Clock::now());
  if (raise_next_after_ms_ > 0 && passed_ms >= raise_next_after_ms_) with_.destination.begin_raising_next();
}

void Migration::reached(ops::MigrationPhase phase) {
  std::string name = ops::to_string(phase);
  std::replace(name.begin(), name.end(), '-', '_');
  iteration_.journal.sample("migration", 0, fmt::format("phase_{}_ms", name),
                            base::milliseconds_between(started_, base::Clock::now()));
}

base::Result<hypervisor::Machine*> Migration::raise(Deadline deadline) {
  MIGSOAK_ASSIGN(hypervisor::Machine* const machine, session_.raise(deadline));
  Vm& destination = *ends_.destination;
  iteration_.journal.sample("host", 0, "spawn_ms", destination.spawn_ms);
  if (iteration_.mode.needs.process_order != ProcessOrder::afterwards) return machine;
  // A destination that waits for the stream may be probed. One that answers only after the load may not: its
  // configuration space is compared when the guest leaves it.
  iteration_.readings.begin_config(&destination, hypervisor::ReadPoint::destination, /*running=*/false);
  iteration_.readings.begin_waiting_tree(&destination);
  iteration_.readings.finish_config(hypervisor::ReadPoint::destination);
  iteration_.readings.finish_waiting_tree();
  return machine;
}

// The source has saved its state and ends before its successor begins.
base::Result<void> Migration::release_source() {
  if (iteration_.mode.needs.process_order != ProcessOrder::within) {
    iteration_.readings.config(ends_.source, hypervisor::ReadPoint::source, /*running=*/false);
  }
  iteration_.journal.begin_phase("teardown");
  retire_source();
  if (iteration_.lineage.targets().any_ended()) {
    return base::fail(base::ErrorKind::subject, "a process ended while the source quit");
  }
  return {};
}

StepOutcome Migration::run() {
  Lineage& lineage = iteration_.lineage;
  if (!iteration_.starts_before()) {
    session_.prepare();
  } else if (ends_.destination == nullptr) {
    return StepResult::stays_on_source;  // ended since the last look, and was noted
  }
  const hypervisor::MachineSpec& next_spec =
      ends_.destination != nullptr ? ends_.destination->machine->spec() : session_.prepared().spec;
  assert(ops::check_ram_sharing(iteration_.mode, ends_.source->machine->spec(), next_spec));
  auto migration = session_.begin(Deadline::in(seconds(iteration_.scenario().deadline.migrate_s)), *this);
  if (!migration) {
    return Trouble{"qemu:" + iteration_.plan().destination_side, 0, migration.error(), "its command line",
                   /*explained_by_ends=*/false};
  }
  const ProcessOrder order = iteration_.mode.needs.process_order;
  if (order == ProcessOrder::in_place || order == ProcessOrder::within) {
    // Nothing can be asked of this image any more once it execs, or of this QEMU once its driver ends it.
    iteration_.readings.config(ends_.source, hypervisor::ReadPoint::source, /*running=*/true);
    sample_before_teardown(lineage, iteration_.journal, *ends_.source);
  }
  // The source has what the guest has, whatever it was started with.
  ends_.source->devices = lineage.devices();
  iteration_.readings.device_set(*ends_.source, "source");
  if (ends_.destination != nullptr) iteration_.readings.device_set(*ends_.destination, "destination");
  iteration_.readings.finish_config(hypervisor::ReadPoint::destination);
  iteration_.readings.finish_waiting_tree();
  // The next destination starts half-way, by what the last migration took: the bulk of memory has been copied then, and
  // QEMU waits for its first measurement of the bandwidth (after 100 ms, BUFFER_DELAY) before it switches over. Sooner,
  // it would take time from the copying; what is left to copy is downtime (10 ms became 80 on two busy cores).
  raise_next_after_ms_ = lineage.last_migration_ms / 2;
  began_ = base::Clock::now();
  const ops::MigrationOutcome outcome = iteration_.mode.run(*migration);
  if (auto restarted = with_.restarts.conclude_during()) {
    if (outcome.result == MigrationResult::hang) clear_cancelled_destination(outcome);
    return std::move(*restarted);
  }
  // Where nobody took it, it is all that is left of the guest, and nobody will.
  const std::string& state_file = session_.prepared().state_file;
  if (!state_file.empty()) ::unlink(state_file.c_str());
  if (!iteration_.starts_before() && ends_.destination != nullptr) {
    iteration_.readings.device_set(*ends_.destination, "destination");
  }
  session_.forget_ram();
  return conclude(outcome);
}

StepOutcome Migration::conclude(const ops::MigrationOutcome& outcome) {
  record::Journal& journal = iteration_.journal;
  const bool completed = outcome.result == MigrationResult::completed;
  if (ends_.source != nullptr) with_.operations.conclude_refused(*ends_.source, completed);
  with_.peaks.sample();
  journal.sample("migration", 0, "harness_ms", outcome.total_ms);
  for (const auto& [metric, value] : outcome.figures) journal.sample("migration", 0, metric, value);
  if (completed) {
    iteration_.lineage.last_migration_ms = outcome.total_ms;
    if (ends_.source != nullptr) {
      // What the source was at the moment it stopped; it quits when that has been read. That takes no longer, as a
      // rule, than the guest needs for its first sign of life.
      iteration_.readings.begin_config(ends_.source, hypervisor::ReadPoint::source, /*running=*/false);
      with_.destination.begin_raising_next();
      iteration_.readings.finish_config(hypervisor::ReadPoint::source);
      ask_source_to_quit();
    }
    return switch_over();
  }
  if (iteration_.lineage.context().stop.level() >= 2) return StepResult::interrupted;
  if (iteration_.plan().expect != record::kExpectCompletes) return conclude_declared(outcome);
  return conclude_failed(outcome);
}

StepOutcome Migration::switch_over() {
  record::Journal& journal = iteration_.journal;
  journal.begin_phase("switch-over");
  guest::GuestChannel& channel = iteration_.lineage.channel();
  channel.make_active(ends_.destination->agent_stream);
  iteration_.lineage.set_current(ends_.destination);
  const auto beat = channel.wait_heartbeat(ends_.destination->agent_stream, iteration_.answer_deadline());
  if (!beat) {
    // By QEMU's word it arrived; but its memory is gone.
    const bool interrupted = beat.error().kind == base::ErrorKind::interrupted;
    if (iteration_.plan().expect == record::kExpectLost && !interrupted) {
      return lose_as_declared("completed", "no heartbeat of the guest: " + beat.error().describe());
    }
    return Trouble{"guest", 0, beat.error(), "heartbeat of the guest on its destination"};
  }
  const guest::HeartbeatGap gap = channel.take_gap();
  journal.sample("guest", 0, "heartbeat_gap_ms", gap.host_ms);
  journal.sample("guest", 0, "heartbeat_gap_guest_ms", gap.guest_ms);
  journal.sample("guest", 0, "heartbeats_lost", static_cast<double>(gap.lost));
  with_.peaks.sample();
  if (const auto sent = with_.verification.begin(); !sent) {
    return Trouble{"guest", 0, sent.error(), "sending the verification command", /*explained_by_ends=*/false};
  }
  return StepResult::ok;
}

// By both ends' word the guest runs on the destination. The source's end takes as long as the guest's first sign of
// life there, and needn't wait for it.
void Migration::ask_source_to_quit() {
  Vm& source = *ends_.source;
  quit_began_ = base::Clock::now();
  if (!source.machine->alive()) return;  // ended unasked: the next check notes it
  iteration_.journal.begin_phase("teardown");
  sample_before_teardown(iteration_.lineage, iteration_.journal, source);
  source.asked_to_quit = true;
  quit_began_ = base::Clock::now();
  source.machine->begin_quit();
}

StepOutcome Migration::finish_source() {
  if (ends_.source != nullptr) retire_source();  // else it ended unasked, and was noted, or was released before
  return StepResult::ok;
}

void Migration::retire_source() {
  if (!ends_.source->asked_to_quit) ask_source_to_quit();
  const std::string name = ends_.source->name;
  const std::int64_t id = ends_.source->process_id;
  iteration_.lineage.retire(*std::exchange(ends_.source, nullptr), /*by_quit=*/true, iteration_.journal);
  const double took = base::milliseconds_between(quit_began_, base::Clock::now());
  iteration_.journal.sample("host", 0, "quit_ms", took);
  if (took < 1000.0 * static_cast<double>(iteration_.scenario().deadline.quit_s)) return;
  iteration_.journal.event(kind::kHang, name)
      .process(id)
      .text(fmt::format("{} did not end after quit and was killed", name))
      .detail({{"waiting_for", "end of the source after quit"}, {"waited_ms", took}});
}

// The guest may still run on the source: then the lineage goes on, with the failure on record.
StepOutcome Migration::conclude_failed(const ops::MigrationOutcome& outcome) {
  const record::Plan& plan = iteration_.plan();
  const std::string destination_name = "qemu:" + plan.destination_side;
  if (outcome.result == MigrationResult::hang) {
    clear_cancelled_destination(outcome);
    const Vm* waiting = ends_.source != nullptr ? ends_.source : ends_.destination;
    return Trouble{waiting != nullptr ? waiting->name : destination_name,
                   waiting != nullptr ? waiting->process_id : 0,
                   {base::ErrorKind::timeout, outcome.error, {}},
                   "end of the migration",
                   /*explained_by_ends=*/false};
  }
  // What a daemon logs about a peer that hangs belongs to the hang; so does what the migration leaves behind.
  if (const DaemonInstance* silent = iteration_.lineage.daemons().silent()) {
    return Trouble{silent->name,
                   silent->process_id,
                   {base::ErrorKind::timeout, outcome.error, {}},
                   "end of the migration",
                   /*explained_by_ends=*/false};
  }
  const Vm* destination = ends_.destination;
  iteration_.lineage.drain_logs(iteration_.journal);
  {
    auto event = iteration_.journal.event(kind::kMigrationFailed, destination_name);
    event.process(destination != nullptr ? destination->process_id : 0)
        .text(outcome.error)
        .detail({{"error_desc", outcome.error},
                 {"result", ops::to_string(outcome.result)},
                 {"from", plan.source_side},
                 {"to", plan.destination_side},
                 {"source_status", outcome.source_status}});
    if (!settings_.empty()) event.detail("settings", settings_);
    if (!channel_.empty()) event.detail("channel", channel_);
    if (destination != nullptr) event.detail("destination_log", destination->machine->last_lines());
  }
  clear_destination(outcome);
  failed_ = Failure::undeclared;
  return StepResult::stays_on_source;
}

// The mode cancelled a migration that did not end. The destination's stream is cut by that, and it exits: that is no
// second failure, and it is not the process that hung.
void Migration::clear_cancelled_destination(const ops::MigrationOutcome& outcome) {
  constexpr seconds kEndIsKnownWithin{1};
  Vm* destination = ends_.destination;
  if (destination == nullptr || ends_.source == nullptr || outcome.destination_exit) return;
  const auto ended = [destination] { return !destination->machine->alive(); };
  iteration_.lineage.context().reactor.run_until(ended, Deadline::in(kEndIsKnownWithin));
  if (!ended() || destination->machine->exit_status().value_or(proc::ExitStatus{}).signal != 0) return;
  iteration_.readings.drop_destination();
  iteration_.lineage.retire(*std::exchange(ends_.destination, nullptr), /*by_quit=*/false, iteration_.journal);
}

// The scenario says that this goes wrong, and how. When it does so, that is on record and nothing more; when it goes
// wrong otherwise, it is a failure like any.
StepOutcome Migration::conclude_declared(const ops::MigrationOutcome& outcome) {
  const Vm* destination = ends_.destination;
  const bool expect_lost = iteration_.plan().expect == record::kExpectLost;
  const bool refused = outcome.result == MigrationResult::failed || outcome.result == MigrationResult::destination_lost;
  const bool lost = outcome.result == MigrationResult::source_lost ||
                    (ends_.source == nullptr && outcome.result != MigrationResult::hang);
  const bool by_signal =
      destination != nullptr && destination->machine->exit_status().value_or(proc::ExitStatus{}).signal != 0;
  const bool as_declared = expect_lost ? lost : refused && !lost;
  if (!as_declared || by_signal) return conclude_failed(outcome);
  if (expect_lost) return lose_as_declared(ops::to_string(outcome.result), outcome.error);
  note_declared(ops::to_string(outcome.result), outcome.error);
  clear_destination(outcome);
  failed_ = Failure::declared;
  return StepResult::stays_on_source;
}

// After a failed migration: is the guest on the source?
StepOutcome Migration::look_at_source_after_failure() {
  if (ends_.source == nullptr) {
    const std::string why = failed_ == Failure::declared
                                ? "the source is gone after a migration that was declared to be refused"
                                : "the migration failed and the source is gone";
    iteration_.journal.event(kind::kGuestLost, "guest").text(why).detail({{"why", why}});
    return StepResult::guest_lost;
  }
  if (failed_ == Failure::undeclared) {
    iteration_.readings.config(ends_.source, hypervisor::ReadPoint::source, /*running=*/true);
  }
  if (ends_.destination != nullptr) {
    iteration_.lineage.retire(*std::exchange(ends_.destination, nullptr), /*by_quit=*/false, iteration_.journal);
  }
  return StepResult::ok;
}

// The destination of a refused load, or of a source that died, ends by itself, with an error status: part of the
// failure, not a second one.
void Migration::clear_destination(const ops::MigrationOutcome& outcome) {
  iteration_.readings.drop_destination();
  Lineage& lineage = iteration_.lineage;
  const bool ends_by_itself = outcome.result == MigrationResult::failed ||
                              outcome.result == MigrationResult::destination_lost ||
                              outcome.result == MigrationResult::source_lost;
  if (ends_.destination != nullptr && ends_.source != nullptr && ends_by_itself) {
    const auto status = ends_.destination->machine->exit_status().value_or(proc::ExitStatus{});
    if (status.signal == 0) lineage.retire(*ends_.destination, /*by_quit=*/false, iteration_.journal);
  }
  ends_.destination = nullptr;
  for (Vm& vm : lineage.vms()) {
    if (&vm != ends_.source && &vm != ends_.next) ends_.destination = &vm;
  }
}

void Migration::note_declared(const std::string& result, const std::string& error) {
  const record::Plan& plan = iteration_.plan();
  iteration_.lineage.drain_logs(iteration_.journal);
  const bool lost = plan.expect == record::kExpectLost;
  record::ExpectedTrouble trouble;
  trouble.declared = {record::TroubleCause::edge,        plan.mode,     "",
                      {"qemu:" + plan.destination_side}, {plan.expect}, declared_reason(iteration_.scenario(), plan)};
  trouble.result = result;
  trouble.took_ms = base::milliseconds_between(began_, base::Clock::now());
  trouble.text = trouble.why = error;
  trouble.mode = plan.mode;
  trouble.from = plan.source_side;
  trouble.to = plan.destination_side;
  trouble.fate = lost ? "lost" : "source";
  trouble.ended_guest = lost;
  record::record_trouble(iteration_.journal, trouble, ends_.destination != nullptr ? ends_.destination->process_id : 0);
}

StepOutcome Migration::lose_as_declared(const std::string& result, const std::string& error) {
  note_declared(result, error);
  iteration_.end_guest();
  return StepResult::ended_as_declared;
}

}  // namespace migsoak::engine
