// When an iteration does not go as planned: what is recorded, who is blamed, whether the lineage can go on.
#include <fmt/format.h>

#include <algorithm>

#include "engine/blame.h"
#include "engine/iteration.h"
#include "plan/route_plan.h"

namespace migsoak::engine {

using base::Deadline;
using base::ErrorKind;
using record::IterationStatus;
using std::chrono::seconds;
namespace kind = record::event_kind;

bool IterationRunner::give_up(const std::string& subject, std::int64_t process_id, const base::Error& error,
                              const std::string& waiting_for) {
  if (context_.stop.level() >= 2 || error.kind == ErrorKind::interrupted) {
    interrupted_ = true;
    into_.status = IterationStatus::unknown;
    return false;
  }
  lineage_.drain_logs(into_, into_.phase, at_ms());
  into_.status = IterationStatus::lost;
  switch (error.kind) {
    case ErrorKind::timeout: {
      const Stuck stuck = find_stuck(lineage_);
      // Processes that ended explain the silence better than a hang does.
      if (stuck.subject.empty() && lineage_.note_unexpected_ends(into_, into_.phase, at_ms())) return false;
      const bool known = !stuck.subject.empty();
      record::Event& event =
          add_event(kind::kHang, known ? stuck.subject : subject, known ? stuck.process_id : process_id,
                    known ? fmt::format("{} {}; no {} in time", stuck.subject, stuck.why, waiting_for)
                          : fmt::format("no {}: {}", waiting_for, error.describe()));
      event.detail = hang_evidence(lineage_);
      event.detail["waiting_for"] = waiting_for;
      event.detail["waited_ms"] = at_ms();
      lineage_.note_unexpected_ends(into_, into_.phase, at_ms());
      return false;
    }
    case ErrorKind::subject:
      if (!lineage_.note_unexpected_ends(into_, into_.phase, at_ms())) {
        record::Event& event = add_event(kind::kUnexpectedExit, subject, process_id, error.describe());
        event.detail = {{"why", error.describe()}};
      }
      return false;
    default:
      into_.status = IterationStatus::unknown;
      add_event(kind::kHarnessError, "harness", 0, error.describe()).detail = {
          {"kind", std::string(to_string(error.kind))}};
      return false;
  }
}

bool IterationRunner::lose_guest(const std::string& why) {
  into_.status = IterationStatus::lost;
  add_event(kind::kGuestLost, "guest", 0, why).detail = {{"why", why}};
  return false;
}

bool IterationRunner::still_whole() {
  if (context_.stop.level() >= 2) {
    interrupted_ = true;
    into_.status = IterationStatus::unknown;
    return false;
  }
  const Player* guest_in = lineage_.current();
  const bool had_guest = guest_in != nullptr;
  if (lineage_.note_unexpected_ends(into_, into_.phase, at_ms())) {
    const auto& players = lineage_.players();
    const auto held = [&players](const Player* wanted) {
      return std::any_of(players.begin(), players.end(), [wanted](const Player& p) { return &p == wanted; });
    };
    // A reading speaks to its QEMU's QMP client, which went with it.
    if (!held(source_)) {
      source_ = nullptr;
      source_reading_.reset();
    }
    if (!held(destination_)) {
      destination_ = nullptr;
      destination_reading_.reset();
    }
    if (!held(next_)) next_ = nullptr;
    const bool target_gone = std::any_of(lineage_.targets().begin(), lineage_.targets().end(),
                                         [](const TargetPlayer& player) { return player.lost; });
    if (had_guest && lineage_.current() == nullptr) return lose_guest("the QEMU it ran in ended");
    if (target_gone) {
      into_.status = IterationStatus::lost;
      return false;
    }
  }
  if (lineage_.console().panicked()) {
    lineage_.drain_logs(into_, into_.phase, at_ms());
    record::Event& event = add_event(kind::kGuestPanic, "guest", 0, "the guest's kernel or agent died");
    event.detail = {{"lines", lineage_.console().last_lines()}};
    into_.status = IterationStatus::lost;
    return false;
  }
  return true;
}

// The guest may still run on the source: then the lineage goes on, with the failure on record.
bool IterationRunner::settle_failed_migration(const ops::MigrationOutcome& outcome) {
  using ops::MigrationResult;
  const std::string destination_name = "qemu:" + into_.plan.destination_side;
  const std::int64_t destination_id = destination_ != nullptr ? destination_->process_id : 0;
  if (outcome.result == MigrationResult::hang) {
    base::Error error{ErrorKind::timeout, outcome.error, {}};
    const Player* waiting = source_ != nullptr ? source_ : destination_;
    return give_up(waiting != nullptr ? waiting->name : destination_name, waiting != nullptr ? waiting->process_id : 0,
                   error, "end of the migration");
  }
  lineage_.drain_logs(into_, into_.phase, at_ms());
  record::Event& event = add_event(kind::kMigrationFailed, destination_name, destination_id, outcome.error);
  event.detail = {{"error_desc", outcome.error},
                  {"result", ops::to_string(outcome.result)},
                  {"from", into_.plan.source_side},
                  {"to", into_.plan.destination_side},
                  {"source_status", outcome.source_status}};
  if (destination_ != nullptr) event.detail["destination_log"] = destination_->machine->child().last_lines();
  clear_destination(outcome);
  if (!still_whole()) return false;
  if (source_ == nullptr) return lose_guest("the migration failed and the source is gone");
  begin_reading(source_, hypervisor::ReadPoint::source, /*running=*/true);
  finish_reading(hypervisor::ReadPoint::source);
  if (destination_ != nullptr) lineage_.retire(*destination_, /*by_quit=*/false, into_);
  destination_ = nullptr;
  return stay_on_source();
}

// The destination of a refused load ends by itself, with an error status: part of the failure, not a second one.
void IterationRunner::clear_destination(const ops::MigrationOutcome& outcome) {
  using ops::MigrationResult;
  destination_reading_.reset();
  if (destination_ != nullptr && source_ != nullptr &&
      (outcome.result == MigrationResult::failed || outcome.result == MigrationResult::destination_lost)) {
    const proc::ExitStatus status = destination_->machine->child().exit_status().value_or(proc::ExitStatus{});
    if (status.signal == 0) lineage_.retire(*destination_, /*by_quit=*/false, into_);
  }
  destination_ = nullptr;
  for (Player& player : lineage_.players()) {
    if (&player != source_ && &player != next_) destination_ = &player;
  }
}

// The scenario says that this goes wrong, and how. When it does so, that is on record and nothing more; when it goes
// wrong otherwise, it is a failure like any.
bool IterationRunner::settle_declared(const ops::MigrationOutcome& outcome) {
  using ops::MigrationResult;
  const bool refused = outcome.result == MigrationResult::failed || outcome.result == MigrationResult::destination_lost;
  const bool lost =
      outcome.result == MigrationResult::source_lost || (source_ == nullptr && outcome.result != MigrationResult::hang);
  const bool by_signal =
      destination_ != nullptr && destination_->machine->child().exit_status().value_or(proc::ExitStatus{}).signal != 0;
  const bool as_declared = into_.plan.expect == record::kExpectLost ? lost : refused && !lost;
  if (!as_declared || by_signal) return settle_failed_migration(outcome);
  if (into_.plan.expect == record::kExpectLost) return lose_as_declared(ops::to_string(outcome.result), outcome.error);
  note_declared(ops::to_string(outcome.result), outcome.error);
  clear_destination(outcome);
  if (!still_whole()) return false;
  if (source_ == nullptr) return lose_guest("the source is gone after a migration that was declared to be refused");
  if (destination_ != nullptr) lineage_.retire(*destination_, /*by_quit=*/false, into_);
  destination_ = nullptr;
  return stay_on_source();
}

void IterationRunner::note_declared(const std::string& result, const std::string& error) {
  lineage_.drain_logs(into_, into_.phase, at_ms());
  record::Event& event = add_event(kind::kDeclaredOutcome, "qemu:" + into_.plan.destination_side,
                                   destination_ != nullptr ? destination_->process_id : 0, error);
  event.detail = {{"expect", into_.plan.expect},
                  {"mode", into_.plan.mode},
                  {"from", into_.plan.source_side},
                  {"to", into_.plan.destination_side},
                  {"error", error},
                  {"reason", declared_reason(context_.scenario, into_.plan)},
                  {"result", result}};
}

// Always false: the guest's life ends here, by plan.
bool IterationRunner::lose_as_declared(const std::string& result, const std::string& error) {
  note_declared(result, error);
  source_reading_.reset();
  destination_reading_.reset();
  while (!lineage_.players().empty()) lineage_.retire(lineage_.players().front(), /*by_quit=*/false, into_);
  source_ = destination_ = next_ = nullptr;
  into_.status = IterationStatus::lost;
  return false;
}

// Nothing came of this migration, and the guest was not touched by it: is that so? Always false: the iteration ends
// here.
bool IterationRunner::stay_on_source() {
  into_.status = IterationStatus::failed;
  phase("verify");
  const DeadlineScenario& deadline = context_.scenario.deadline;
  const auto beat = lineage_.channel().wait_next_heartbeat(Deadline::in(seconds(deadline.answer_s)));
  if (!beat) {
    if (!still_whole()) return false;
    return give_up("guest", 0, beat.error(), "heartbeat of the guest after the failed migration");
  }
  if (!conclude_operations(source_)) return false;
  if (context_.scenario.guest.workload == "verify") {
    (void)lineage_.channel().begin_verify(context_.scenario.guest.ram_verify_bytes,
                                          context_.scenario.guest.disk_verify_bytes);
  }
  (void)(finish_verify() && disks_live_on() && finish_raising_next() && quiet_point());
  return false;
}

// A wrapper that can't be run is the scenario's doing and shows only when it is used: data, not a broken harness.
base::Error IterationRunner::as_subjects(base::Error error, bool has_wrapper) {
  if (has_wrapper && error.kind == ErrorKind::environment) error.kind = ErrorKind::subject;
  return error;
}

}  // namespace migsoak::engine
