#include "ops/modes/saved_migration.h"

#include <fmt/format.h>
#include <unistd.h>

#include "base/text.h"
#include "ops/modes/status.h"

namespace migsoak::ops {

namespace {
constexpr std::chrono::milliseconds kSavedProgressEvery{5};
}

SavedMigration::SavedMigration(MigrationContext& context, const Mode& mode, MigrationSettings settings)
    : context_(context), mode_(mode), settings_(std::move(settings)), source_(std::in_place, *context.source) {}

MigrationOutcome SavedMigration::run() {
  context_.source->qmp().take_events();
  const auto go = [this] {
    if (auto failure = set_up()) return std::move(*failure);
    if (auto failure = save()) return std::move(*failure);
    if (auto failure = hand_over()) return std::move(*failure);
    return load();
  };
  MigrationOutcome outcome = go();
  if (!keep_file_) ::unlink(context_.channels.state_file.c_str());
  return outcome;
}

// The source has done its part. In place, "completed" comes before the exec, which may still fail; the end of QMP is
// the exec's, or the process's.
bool SavedMigration::saved() const {
  return in_place() ? !reachable(*context_.source) : source_->saw("completed");
}

void SavedMigration::progress() {
  const auto now = base::Clock::now();
  if (now - last_progress_ < kSavedProgressEvery) return;
  last_progress_ = now;
  context_.listener.progress();
  if (source_) phases_.publish(*source_, context_.listener);
  if (source_) source_->poll();
  if (destination_) destination_->poll();
}

proc::Wait SavedMigration::wait_for(const std::function<bool()>& predicate) {
  const auto look = [&] {
    progress();
    return predicate();
  };
  return context_.reactor.run_until(look, context_.deadline, kSavedProgressEvery);
}

void SavedMigration::look_at_migrate() {
  qmp::Monitor& client = context_.source->qmp();
  if (migrate_answered_ || !client.replied(migrate_id_)) return;
  migrate_answered_ = true;
  auto reply = client.take_reply(migrate_id_, base::Deadline::in(std::chrono::milliseconds(0)));
  if (!reply && client.connected()) migrate_error_ = reply.error();
}

std::optional<MigrationOutcome> SavedMigration::set_up() {
  PendingSettings sent(*context_.source, settings_);
  context_.listener.settings_sent(End::source, sent.sent());
  const auto status_id = context_.source->qmp().send("query-status");
  auto set = sent.confirm(context_.deadline);
  auto status = context_.source->qmp().take_reply(status_id, context_.deadline);
  if (!status) return source_failed(status.error());
  source_ran_ = base::json_get<bool>(*status, "running", false);
  if (!set) return source_failed(set.error());
  return std::nullopt;
}

std::optional<MigrationOutcome> SavedMigration::save() {
  began_ = base::Clock::now();
  const base::Json arguments = {{"uri", "file:" + context_.channels.state_file}};
  context_.listener.channel_opened(arguments);
  migrate_id_ = context_.source->qmp().send("migrate", arguments);
  context_.listener.started();
  const auto over = [this] {
    look_at_migrate();
    return saved() || migrate_error_ || source_->failed() || !reachable(*context_.source);
  };
  const auto waited = wait_for(over);
  phases_.publish(*source_, context_.listener);
  if (saved()) return std::nullopt;
  return not_saved(waited);
}

// Nobody but the source has the guest: whatever happened, it may go on.
MigrationOutcome SavedMigration::not_saved(proc::Wait waited) {
  if (waited == proc::Wait::interrupted) return interrupted();
  if (!reachable(*context_.source)) {
    return finish(MigrationResult::source_lost, describe_loss(context_.reactor, *context_.source, "source"));
  }
  const bool hang = waited == proc::Wait::timeout;
  MigrationOutcome outcome = finish(hang ? MigrationResult::hang : MigrationResult::failed, "");
  const auto status = base::json_get<std::string>(outcome.source_status, "status", "no answer");
  const auto description = base::json_get<std::string>(outcome.source_status, "error-desc", "");
  if (migrate_error_) {
    outcome.error = migrate_error_->describe();
  } else if (hang) {
    outcome.error = fmt::format("no end after {:.0f} ms: source status {}, waiting for the source to {}",
                                outcome.total_ms, status, in_place() ? "exec" : "save its state");
  } else {
    outcome.error = fmt::format("source {}{}{}", status, description.empty() ? "" : ": ", description);
  }
  outcome.error = base::printable(outcome.error, 2000);
  if (source_ran_) outcome.source_runs = restore_source(context_.reactor, *context_.source, true);
  return outcome;
}

std::optional<MigrationOutcome> SavedMigration::hand_over() {
  if (!in_place()) {
    MigrationOutcome saved;
    collect_statuses(context_, saved);
    source_status_ = std::move(saved.source_status);
    auto released = context_.listener.release_source();
    source_.reset();
    context_.source = nullptr;
    keep_file_ = true;  // nothing else has the guest now
    if (!released) return arrival_failed(released.error());
  }
  auto raised = context_.listener.raise(context_.deadline);
  source_.reset();
  context_.source = nullptr;
  if (!raised) return arrival_failed(raised.error());
  context_.destination = *raised;
  destination_.emplace(*context_.destination, /*at_once=*/true);
  return in_place() ? std::nullopt : begin_load();
}

std::optional<MigrationOutcome> SavedMigration::begin_load() {
  qmp::Monitor& client = context_.destination->qmp();
  client.take_events();
  PendingSettings sent(*context_.destination, settings_);
  context_.listener.settings_sent(End::destination, sent.sent());
  const auto incoming = client.send("migrate-incoming", {{"uri", "file:" + context_.channels.state_file}});
  auto set = sent.confirm(context_.deadline);
  auto reply = client.take_reply(incoming, context_.deadline);
  if (!set) return arrival_failed(set.error());
  if (!reply) return arrival_failed(reply.error());
  return std::nullopt;
}

MigrationOutcome SavedMigration::load() {
  hypervisor::Machine& machine = *context_.destination;
  const auto waited =
      wait_for([&] { return destination_->has_guest() || destination_->failed() || !reachable(machine); });
  if (destination_->has_guest()) {
    keep_file_ = false;
    const std::string loss =
        reachable(machine) ? "" : "after the switch-over: " + describe_loss(context_.reactor, machine, "destination");
    return finish(MigrationResult::completed, loss);
  }
  if (waited == proc::Wait::interrupted) return interrupted();
  if (waited == proc::Wait::timeout) {
    return arrival_failed({base::ErrorKind::timeout, "waiting for the destination to resume the guest", {}});
  }
  if (!reachable(machine)) {
    return arrival_failed({base::ErrorKind::subject, describe_loss(context_.reactor, machine, "destination"), {}});
  }
  return arrival_failed({base::ErrorKind::subject, "the destination failed to load the state", {}});
}

MigrationOutcome SavedMigration::source_failed(const base::Error& error) {
  if (error.kind == base::ErrorKind::interrupted) return interrupted();
  if (!reachable(*context_.source)) {
    return finish(MigrationResult::source_lost, describe_loss(context_.reactor, *context_.source, "source"));
  }
  const bool hang = error.kind == base::ErrorKind::timeout;
  MigrationOutcome outcome =
      finish(hang ? MigrationResult::hang : MigrationResult::failed, "source: " + error.describe());
  if (source_ran_) outcome.source_runs = restore_source(context_.reactor, *context_.source, true);
  return outcome;
}

// The source is no more, and the guest did not arrive.
MigrationOutcome SavedMigration::arrival_failed(const base::Error& error) {
  if (error.kind == base::ErrorKind::interrupted) return interrupted();
  const bool hang = error.kind == base::ErrorKind::timeout;
  // In place there is one process, which was the source.
  const auto lost = in_place() ? MigrationResult::source_lost : MigrationResult::destination_lost;
  MigrationOutcome outcome = finish(hang ? MigrationResult::hang : lost, "");
  const auto status = base::json_get<std::string>(outcome.destination_status, "status", "no answer");
  const auto description = base::json_get<std::string>(outcome.destination_status, "error-desc", "");
  outcome.error = hang ? fmt::format("no end after {:.0f} ms: destination status {}, {}", outcome.total_ms, status,
                                     error.describe())
                       : fmt::format("{}{}{}", error.describe(), description.empty() ? "" : ": ", description);
  outcome.error = base::printable(outcome.error, 3000);
  return outcome;
}

MigrationOutcome SavedMigration::interrupted() {
  if (context_.source != nullptr && context_.source->qmp().connected()) context_.source->qmp().send("migrate_cancel");
  MigrationOutcome outcome;
  outcome.interrupted = true;
  outcome.error = "interrupted";
  return outcome;
}

MigrationOutcome SavedMigration::finish(MigrationResult result, std::string error) {
  MigrationOutcome outcome;
  outcome.result = result;
  outcome.error = std::move(error);
  outcome.total_ms = base::milliseconds_between(began_, base::Clock::now());
  outcome.source_status = source_status_;
  collect_statuses(context_, outcome);
  return outcome;
}

}  // namespace migsoak::ops
