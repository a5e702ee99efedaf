// The migration itself, from the moment both ends are as they should be until the source is gone. What comes when
// depends on how the mode's processes follow each other (ops::Succession).
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <utility>

#include "engine/iteration.h"

namespace migsoak::engine {

using base::Deadline;
using std::chrono::seconds;
namespace kind = record::event_kind;

// The destination's process runs before the migration begins.
bool IterationRunner::starts_before() const {
  return mode_->needs.succession == ops::Succession::beside || mode_->needs.succession == ops::Succession::waiting;
}

void IterationRunner::sample_peaks() {
  for (const TargetPlayer& player : lineage_.targets()) {
    if (player.lost) continue;
    const int count = proc::count_fds(player.target->pid()).value_or(0);
    int& peak = peaks_[player.process_id];
    peak = std::max(peak, count);
  }
}

// Brings a destination to QMP that does not answer, or is not there, before the source has sent or saved its state.
base::Result<hypervisor::Machine*> IterationRunner::raise(PreparedPlayer& prepared, Deadline deadline) {
  if (mode_->needs.succession == ops::Succession::afterwards) {
    MIGSOAK_ASSIGN(destination_, lineage_.spawn(prepared, into_));
  } else if (mode_->needs.succession == ops::Succession::in_place) {
    Player& old = *std::exchange(source_, nullptr);
    MIGSOAK_ASSIGN(destination_, lineage_.take_over(old, prepared, into_));
  }
  MIGSOAK_TRY(lineage_.make_ready(*destination_, deadline));
  sample("host", 0, "spawn_ms", destination_->spawn_ms);
  if (mode_->needs.succession == ops::Succession::afterwards) {
    // It waits for the state yet, and may be probed. One that answers only with the guest in it may not: what its
    // configuration space holds is compared when the guest leaves it.
    begin_reading(destination_, hypervisor::ReadPoint::destination, false);
    begin_waiting_tree();
    finish_reading(hypervisor::ReadPoint::destination);
    finish_waiting_tree();
  }
  return destination_->machine.get();
}

// The source has saved its state and ends before its successor begins.
base::Result<void> IterationRunner::release_source() {
  begin_reading(source_, hypervisor::ReadPoint::source, false);
  finish_reading(hypervisor::ReadPoint::source);
  if (!retire_source()) return base::fail(base::ErrorKind::subject, "a process ended while the source quit");
  return {};
}

ops::MigrationContext IterationRunner::migration_context(PreparedPlayer& prepared) {
  // The next destination starts half-way, by what the last migration took: the bulk of memory has been copied then, and
  // QEMU waits for its first measurement of the bandwidth (after 100 ms, BUFFER_DELAY) before it switches over. Sooner,
  // it would take time from the copying; what is left to copy is downtime (10 ms became 80 on two busy cores).
  const double raise_after_ms = lineage_.last_migration_ms / 2;
  const auto progress = [this, raise_after_ms, began = base::Clock::now()] {
    sample_peaks();
    const double passed_ms = base::milliseconds_between(began, base::Clock::now());
    if (raise_after_ms > 0 && passed_ms >= raise_after_ms) begin_raising_next();
  };
  ops::MigrationContext migration{
      context_.reactor,
      source_->machine.get(),
      destination_ != nullptr ? destination_->machine.get() : nullptr,
      into_.plan.transport,
      context_.run_dir,
      destination_ != nullptr ? destination_->machine->spec().instance : prepared.spec.instance,
      Deadline::in(seconds(context_.scenario.deadline.migrate_s)),
      progress};
  migration.on_started = [this] {
    operations_.send_refused(*source_);
    restart_during();
  };
  migration.raise = [this, &prepared](Deadline deadline) { return raise(prepared, deadline); };
  migration.release_source = [this] { return release_source(); };
  migration.state_file = prepared.state_file;
  if (destination_ != nullptr) {
    migration.main_socket = destination_->main_socket;
    migration.cpr_socket = destination_->cpr_socket;
  }
  return migration;
}

bool IterationRunner::migrate() {
  phase("migrate");
  PreparedPlayer prepared;
  if (!starts_before()) {
    prepared = lineage_.prepare(into_.plan.destination_side, mode_, source_, lineage_.devices());
  }
  const hypervisor::MachineSpec& next_spec = destination_ != nullptr ? destination_->machine->spec() : prepared.spec;
  assert(ops::wrong_ram(*mode_, source_->machine->spec(), next_spec).empty());
  ops::MigrationContext migration = migration_context(prepared);
  if (mode_->needs.succession == ops::Succession::in_place) {
    auto command = lineage_.exec_command(*source_, prepared);
    if (!command) return give_up("qemu:" + into_.plan.destination_side, 0, command.error(), "its command line");
    migration.exec_command = std::move(*command);
    // Nothing can be asked of this image any more once it execs.
    begin_reading(source_, hypervisor::ReadPoint::source, /*running=*/true);
    finish_reading(hypervisor::ReadPoint::source);
    look_before_end(*source_);
  }
  // The source has what the guest has, whatever it was started with.
  source_->devices = lineage_.devices();
  record_device_set(*source_, "source");
  if (destination_ != nullptr) record_device_set(*destination_, "destination");
  finish_reading(hypervisor::ReadPoint::destination);
  finish_waiting_tree();
  if (!hold_migration()) return false;
  const ops::MigrationOutcome outcome = mode_->run(migration);
  if (!during_) return give_up_restart(during_.error());
  if (restarts_.lost_as_declared()) return end_by_declared_restart();
  // Where nobody took it, it is all that is left of the guest, and nobody will.
  if (!prepared.state_file.empty()) ::unlink(prepared.state_file.c_str());
  if (!starts_before() && destination_ != nullptr) record_device_set(*destination_, "destination");
  return conclude_migration(outcome);
}

bool IterationRunner::conclude_migration(const ops::MigrationOutcome& outcome) {
  const bool completed = outcome.result == ops::MigrationResult::completed;
  if (source_ != nullptr) operations_.look_at_source(*source_, completed);
  sample_peaks();
  record_outcome(outcome);
  if (completed) {
    lineage_.last_migration_ms = outcome.total_ms;
    if (source_ == nullptr) return still_whole();
    // What the source was at the moment it stopped; it quits when that has been read. That takes no longer, as a rule,
    // than the guest needs for its first sign of life.
    begin_reading(source_, hypervisor::ReadPoint::source, false);
    begin_raising_next();
    finish_reading(hypervisor::ReadPoint::source);
    ask_source_to_quit();
    return true;
  }
  if (context_.stop.level() >= 2) return still_whole();
  if (into_.plan.expect != record::kExpectCompletes) return settle_declared(outcome);
  return settle_failed_migration(outcome);
}

void IterationRunner::record_outcome(const ops::MigrationOutcome& outcome) {
  sample("migration", 0, "harness_ms", outcome.total_ms);
  for (const auto& [metric, value] : outcome.figures) sample("migration", 0, metric, value);
}

// What is to be seen of it while it is itself: children that it did not wait for, and the like.
void IterationRunner::look_before_end(const Player& player) {
  probes::Scene scene = lineage_.scene();
  scene.phase = into_.phase;
  scene.since_iteration_start_ms = at_ms();
  std::erase_if(scene.subjects, [&](const probes::Subject& s) { return s.process_id != player.process_id; });
  probes::look_before_teardown(scene, lineage_.probe_state(), into_);
}

// By both ends' word the guest runs on the destination. The source's end takes as long as the guest's first sign of
// life there, and needn't wait for it.
void IterationRunner::ask_source_to_quit() {
  if (!source_->machine->alive()) return;  // ended unasked: the next look notes it
  phase("teardown");
  look_before_end(*source_);
  source_->asked_to_quit = true;
  quit_began_ = base::Clock::now();
  source_->machine->begin_quit();
}

bool IterationRunner::retire_source() {
  phase("teardown");
  if (source_ == nullptr) return still_whole();  // ended unasked, and was noted
  if (!source_->asked_to_quit) ask_source_to_quit();
  const std::string name = source_->name;
  const std::int64_t id = source_->process_id;
  lineage_.retire(*source_, /*by_quit=*/true, into_);
  const double took = base::milliseconds_between(quit_began_, base::Clock::now());
  source_ = nullptr;
  sample("host", 0, "quit_ms", took);
  if (took >= 1000.0 * static_cast<double>(context_.scenario.deadline.quit_s)) {
    record::Event& event =
        add_event(kind::kHang, name, id, fmt::format("{} did not end after quit and was killed", name));
    event.detail = {{"waiting_for", "end of the source after quit"}, {"waited_ms", took}};
  }
  return still_whole();
}

void IterationRunner::begin_raising_next() {
  if (next_side_.empty() || !lineage_.can_raise_early()) return;
  const std::string side = std::exchange(next_side_, "");  // one attempt
  const base::Result<Player*> spawned =
      lineage_.spawn(lineage_.prepare(side, ops::find_mode("precopy"), nullptr, lineage_.devices()), into_);
  // A failure shows in the next iteration, which will try again and judge it there.
  if (spawned) next_ = *spawned;
}

bool IterationRunner::finish_raising_next() {
  if (next_ == nullptr) return true;
  phase("raise-next");
  const std::string name = next_->name;
  const std::int64_t id = next_->process_id;
  const auto ready = lineage_.make_ready(*next_, Deadline::in(seconds(context_.scenario.deadline.spawn_s)));
  if (ready) return true;
  if (!still_whole()) return false;
  if (next_ == nullptr) return true;  // it ended at its start, which is noted; the next iteration tries again
  return give_up(name, id, ready.error(), "QMP of " + name);
}

}  // namespace migsoak::engine
