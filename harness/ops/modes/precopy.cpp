// precopy: the classic live migration. The source sends RAM while the guest runs, stops it, sends the rest; the
// destination resumes it. Until that moment the source can always take the guest back.
#include <fmt/format.h>

#include <array>

#include "base/text.h"
#include "ops/modes/mode.h"
#include "ops/modes/status.h"
#include "ops/modes/transport.h"

namespace migsoak::ops {

MigrationOutcome run_precopy(MigrationContext& context);

namespace {

constexpr std::chrono::milliseconds kProgressEvery{5};
// Events tell the outcome; this often the state is asked for as well, in case one was lost.
constexpr std::chrono::milliseconds kPollEvery{200};
// The two ends of a failure are learnt apart: how long one waits for the other's word.
constexpr std::chrono::seconds kOtherEndMax{2};

// One end's state, from its events and from polling.
class EndWatch {
 public:
  explicit EndWatch(hypervisor::Machine& machine) : machine_(machine) {}

  bool saw(const char* status) const {
    return machine_.qmp().has_event("MIGRATION", "status", status) || polled_status_ == status;
  }
  bool failed() const { return saw("failed") || saw("cancelled"); }
  bool resumed() const { return machine_.qmp().has_event("RESUME") || polled_running_; }
  std::string last_status() const { return polled_status_; }

  void poll() {
    qmp::Client& client = machine_.qmp();
    if (!asked_) {
      if (base::Clock::now() < next_poll_ || !client.connected()) return;
      migrate_id_ = client.send("query-migrate");
      status_id_ = client.send("query-status");
      asked_ = true;
    }
    if (!client.replied(migrate_id_) || !client.replied(status_id_)) return;
    const auto at_once = base::Deadline::in(std::chrono::milliseconds(0));
    const auto migrate = client.take_reply(migrate_id_, at_once);
    const auto status = client.take_reply(status_id_, at_once);
    if (migrate) polled_status_ = base::json_get<std::string>(*migrate, "status", "");
    if (status) polled_running_ = base::json_get<bool>(*status, "running", false);
    asked_ = false;
    next_poll_ = base::Clock::now() + kPollEvery;
  }

 private:
  hypervisor::Machine& machine_;
  base::Clock::time_point next_poll_ = base::Clock::now() + kPollEvery;
  bool asked_ = false;
  std::uint64_t migrate_id_ = 0, status_id_ = 0;
  std::string polled_status_;
  bool polled_running_ = false;
};

class Precopy {
 public:
  explicit Precopy(MigrationContext& context)
      : context_(context), source_(*context.source), destination_(*context.destination) {}

  MigrationOutcome run();

 private:
  bool destination_has_guest() const {
    // A guest that was paused stays paused: then only the status tells. RESUME comes before "completed".
    return destination_.resumed() || destination_.saw("completed");
  }
  bool settled();
  void progress();
  MigrationOutcome conclude(proc::Wait waited);
  MigrationOutcome conclude_source_lost();
  MigrationOutcome conclude_failed();
  MigrationOutcome conclude_hang();
  MigrationOutcome wire_failed(const WireError& error);
  MigrationOutcome interrupted();
  MigrationOutcome finish(MigrationResult result, std::string error);
  void wait_for_other_end(const std::function<bool()>& predicate);
  bool refused() const { return migrate_error_.has_value(); }

  MigrationContext& context_;
  EndWatch source_, destination_;
  bool source_ran_ = false;
  std::uint64_t migrate_id_ = 0;
  bool migrate_answered_ = false;
  std::optional<base::Error> migrate_error_;
  base::Clock::time_point began_ = base::Clock::now();
  base::Clock::time_point last_progress_{};
};

void Precopy::progress() {
  const auto now = base::Clock::now();
  if (now - last_progress_ < kProgressEvery) return;
  last_progress_ = now;
  if (context_.on_progress) context_.on_progress();
  source_.poll();
  destination_.poll();
}

// True when there is nothing more to wait for, good or bad.
bool Precopy::settled() {
  progress();
  qmp::Client& client = context_.source->qmp();
  if (!migrate_answered_ && client.replied(migrate_id_)) {
    migrate_answered_ = true;
    auto reply = client.take_reply(migrate_id_, base::Deadline::in(std::chrono::milliseconds(0)));
    if (!reply) migrate_error_ = reply.error();
  }
  if (source_.saw("completed") && destination_has_guest()) return true;
  return refused() || source_.failed() || !reachable(*context_.source) || !reachable(*context_.destination);
}

MigrationOutcome Precopy::run() {
  context_.source->qmp().take_events();
  context_.destination->qmp().take_events();
  auto status = context_.source->qmp().execute("query-status", base::Json::object(), context_.deadline);
  if (!status) return wire_failed({End::source, std::move(status.error())});
  source_ran_ = base::json_get<bool>(*status, "running", false);

  const Transport* transport = find_transport(context_.transport);
  if (transport == nullptr) {
    return finish(MigrationResult::failed, "precopy has no transport '" + base::printable(context_.transport) + "'");
  }
  auto wire = transport->open(context_);
  if (!wire) return wire_failed(wire.error());

  began_ = base::Clock::now();
  migrate_id_ = context_.source->qmp().send("migrate", {{"uri", (*wire)->source_uri}});
  if (context_.on_started) context_.on_started();
  const auto waited = context_.reactor.run_until([&] { return settled(); }, context_.deadline, kProgressEvery);
  return conclude(waited);
}

MigrationOutcome Precopy::conclude(proc::Wait waited) {
  if (source_.saw("completed") && destination_has_guest()) return finish(MigrationResult::completed, "");
  if (waited == proc::Wait::interrupted) return interrupted();
  if (waited == proc::Wait::timeout) return conclude_hang();
  if (!reachable(*context_.source)) return conclude_source_lost();
  return conclude_failed();
}

MigrationOutcome Precopy::conclude_source_lost() {
  const std::string loss = describe_loss(context_, *context_.source, "source");
  // It may have sent everything before it went.
  wait_for_other_end([&] { return destination_has_guest() || !reachable(*context_.destination); });
  if (destination_has_guest() && reachable(*context_.destination)) {
    return finish(MigrationResult::completed, "after the switch-over: " + loss);
  }
  return finish(MigrationResult::source_lost, loss);
}

// The source is there and the migration did not succeed.
MigrationOutcome Precopy::conclude_failed() {
  if (refused()) {
    MigrationOutcome outcome = finish(MigrationResult::failed, migrate_error_->describe());
    outcome.source_runs = restore_source(context_, true);
    return outcome;
  }
  if (reachable(*context_.destination)) {
    wait_for_other_end([&] { return !reachable(*context_.destination); });
  } else {
    wait_for_other_end([&] { return source_.failed() || source_.saw("completed") || !reachable(*context_.source); });
  }
  if (!reachable(*context_.source)) return conclude_source_lost();

  const bool destination_gone = !reachable(*context_.destination);
  std::string loss;
  if (destination_gone) loss = describe_loss(context_, *context_.destination, "destination");
  if (destination_gone && destination_has_guest()) {
    // It ran the guest, however briefly, and may have written to the disks: the source must not run it again.
    return finish(MigrationResult::completed, "after the switch-over: " + loss);
  }
  MigrationOutcome outcome = finish(MigrationResult::failed, "");
  const std::string description =
      base::printable(base::json_get<std::string>(outcome.source_status, "error-desc", ""), 2000);
  // A destination whose source gives up finds its stream cut and exits as well; that is the source's failure. With its
  // peer gone first, the source can only complain about the wire, or about nothing.
  const bool wire_complaint = description.empty() || description.find("Broken pipe") != std::string::npos ||
                              description.find("Connection reset") != std::string::npos ||
                              description.find("shutdown") != std::string::npos;
  const bool by_signal = outcome.destination_exit && outcome.destination_exit->signal != 0;
  // Cancelled is the source's own word, whatever the destination makes of its cut stream.
  if (destination_gone && !source_.saw("cancelled") && (wire_complaint || by_signal || !source_.failed())) {
    outcome.result = MigrationResult::destination_lost;
  }
  const std::string status = base::json_get<std::string>(outcome.source_status, "status", source_.last_status());
  outcome.error =
      fmt::format("source {}{}{}", status.empty() ? "failed" : status, description.empty() ? "" : ": ", description);
  if (!loss.empty()) {
    outcome.error = outcome.result == MigrationResult::destination_lost
                        ? loss + (description.empty() ? "" : "; " + outcome.error)
                        : outcome.error + "; " + loss;
  }
  if (source_ran_) outcome.source_runs = restore_source(context_, destination_gone || source_.failed());
  return outcome;
}

MigrationOutcome Precopy::conclude_hang() {
  MigrationOutcome outcome = finish(MigrationResult::hang, "");
  const auto status_of = [](const base::Json& status) {
    return status.is_object() ? base::json_get<std::string>(status, "status", "none") : std::string("no answer");
  };
  const double waited_ms = base::milliseconds_between(began_, base::Clock::now());
  outcome.error = fmt::format(
      "no end after {:.0f} ms: source status {}, destination status {}, waiting for {}", waited_ms,
      base::printable(status_of(outcome.source_status), 60), base::printable(status_of(outcome.destination_status), 60),
      source_.saw("completed") ? "the destination to resume the guest" : "the source to complete");
  // The destination may still resume the guest at any time when the source has sent everything: then nothing may run
  // it here.
  outcome.source_runs = restore_source(context_, false);
  return outcome;
}

MigrationOutcome Precopy::wire_failed(const WireError& error) {
  if (error.error.kind == base::ErrorKind::interrupted) return interrupted();
  if (!reachable(*context_.source)) {
    return finish(MigrationResult::source_lost, describe_loss(context_, *context_.source, "source"));
  }
  const char* which = error.end == End::source ? "source: " : "destination: ";
  std::string text = which + error.error.describe();
  auto result = error.error.kind == base::ErrorKind::timeout ? MigrationResult::hang : MigrationResult::failed;
  if (!reachable(*context_.destination)) {
    text = describe_loss(context_, *context_.destination, "destination");
    result = MigrationResult::destination_lost;
  }
  MigrationOutcome outcome = finish(result, std::move(text));
  if (source_ran_) outcome.source_runs = restore_source(context_, false);
  return outcome;
}

MigrationOutcome Precopy::interrupted() {
  if (context_.source->qmp().connected()) context_.source->qmp().send("migrate_cancel");
  MigrationOutcome outcome;
  outcome.interrupted = true;
  outcome.error = "interrupted";
  return outcome;
}

void Precopy::wait_for_other_end(const std::function<bool()>& predicate) {
  const auto both = [&] {
    source_.poll();
    destination_.poll();
    return predicate();
  };
  context_.reactor.run_until(both, base::Deadline::in(kOtherEndMax), kProgressEvery);
}

MigrationOutcome Precopy::finish(MigrationResult result, std::string error) {
  MigrationOutcome outcome;
  outcome.result = result;
  outcome.error = std::move(error);
  outcome.total_ms = base::milliseconds_between(began_, base::Clock::now());
  collect_statuses(context_, outcome);
  return outcome;
}

}  // namespace

MigrationOutcome run_precopy(MigrationContext& context) {
  return Precopy(context).run();
}

}  // namespace migsoak::ops
