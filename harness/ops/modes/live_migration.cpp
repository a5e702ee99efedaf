#include "ops/modes/live_migration.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/text.h"
#include "ops/modes/status.h"
#include "proc/proc_fs.h"

namespace migsoak::ops {

namespace {

constexpr std::chrono::milliseconds kProgressEvery{5};
// A socket that comes up announces itself to nobody: how often the kernel is asked.
constexpr std::chrono::milliseconds kListeningEvery{2};
// The two ends of a failure are learnt apart: how long one waits for the other's word.
constexpr std::chrono::seconds kOtherEndMax{2};

bool is_listening(const std::string& path) {
  const auto sockets = proc::read_unix_sockets();
  return sockets && std::any_of(sockets->begin(), sockets->end(),
                                [&](const auto& entry) { return entry.second.listening && entry.second.path == path; });
}

// With its peer gone first, the source can only complain about the channel, or about nothing.
bool complains_of_channel(const std::string& description) {
  static constexpr std::array<const char*, 5> kWords = {"Broken pipe", "Connection reset", "shutdown",
                                                        "Failed to connect", "Connection refused"};
  return description.empty() || std::any_of(kWords.begin(), kWords.end(), [&](const char* word) {
           return description.find(word) != std::string::npos;
         });
}

}  // namespace

LiveMigration::LiveMigration(MigrationContext& context, const Mode& mode, MigrationSettings settings)
    : context_(context),
      mode_(mode),
      settings_(std::move(settings)),
      source_(*context.source),
      destination_(*context.destination, /*at_once=*/mode.needs.process_order == ProcessOrder::waiting),
      raised_(mode.needs.process_order != ProcessOrder::waiting) {}

bool LiveMigration::destination_gone() const {
  hypervisor::Machine& machine = *context_.destination;
  if (raise_error_) return true;
  return raised_ ? !reachable(machine) : !machine.alive() || !machine.qmp().end_reason().empty();
}

void LiveMigration::progress() {
  const auto now = base::Clock::now();
  if (now - last_progress_ < kProgressEvery) return;
  last_progress_ = now;
  context_.listener.progress();
  phases_.publish(source_, context_.listener);
  source_.poll();
  destination_.poll();
}

// True when there is nothing more to wait for, good or bad.
bool LiveMigration::settled() {
  progress();
  qmp::Monitor& client = context_.source->qmp();
  if (!migrate_answered_ && client.replied(migrate_id_)) {
    migrate_answered_ = true;
    auto reply = client.take_reply(migrate_id_, base::Deadline::in(std::chrono::milliseconds(0)));
    if (!reply) migrate_error_ = reply.error();
  }
  if (source_.saw("completed") && destination_.has_guest() && raised_) return true;
  return refused() || source_.failed() || !reachable(*context_.source) || destination_gone();
}

MigrationOutcome LiveMigration::run() {
  context_.source->qmp().take_events();
  context_.destination->qmp().take_events();
  if (auto failure = set_up()) return std::move(*failure);
  base::Json arguments;
  if (auto failure = open_channel(arguments)) return std::move(*failure);
  context_.listener.channel_opened(arguments);

  began_ = base::Clock::now();
  migrate_id_ = context_.source->qmp().send("migrate", arguments);
  context_.listener.started();
  return conclude(wait_settled());
}

// All that is asked of both ends before the migration, in one round trip. A waiting destination answers nothing yet.
std::optional<MigrationOutcome> LiveMigration::set_up() {
  PendingSettings on_source(*context_.source, settings_);
  const auto status_id = context_.source->qmp().send("query-status");
  std::optional<PendingSettings> on_destination;
  if (!waiting()) on_destination.emplace(*context_.destination, settings_);
  context_.listener.settings_sent(End::source, on_source.sent());
  if (on_destination) context_.listener.settings_sent(End::destination, on_destination->sent());
  auto source_set = on_source.confirm(context_.deadline);
  auto status = context_.source->qmp().take_reply(status_id, context_.deadline);
  if (!status) return channel_failed({End::source, std::move(status.error())});
  source_ran_ = base::json_get<bool>(*status, "running", false);
  if (!source_set) return channel_failed({End::source, std::move(source_set.error())});
  if (!on_destination) return std::nullopt;
  auto destination_set = on_destination->confirm(context_.deadline);
  if (!destination_set) return channel_failed({End::destination, std::move(destination_set.error())});
  return std::nullopt;
}

// `arguments`: what the source's `migrate` takes.
std::optional<MigrationOutcome> LiveMigration::open_channel(base::Json& arguments) {
  if (waiting()) {
    arguments["channels"] = base::Json::array(
        {unix_channel("main", context_.channels.main_socket), unix_channel("cpr", context_.channels.cpr_socket)});
    return wait_listening();
  }
  const Transport* transport = find_transport(context_.channels.transport);
  const auto& known = mode_.transports;
  if (transport == nullptr || std::find(known.begin(), known.end(), context_.channels.transport) == known.end()) {
    return finish(MigrationResult::failed,
                  fmt::format("{} has no transport '{}'", mode_.name, base::printable(context_.channels.transport)));
  }
  auto channel = transport->open(context_);
  if (!channel) return channel_failed(channel.error());
  channel_ = std::move(*channel);
  arguments["uri"] = channel_->source_uri;
  return std::nullopt;
}

// The socket's file is there before anybody listens on it, and a source that finds nobody fails.
std::optional<MigrationOutcome> LiveMigration::wait_listening() {
  bool listens = false;
  const auto over = [&] {
    listens = is_listening(context_.channels.cpr_socket);
    return listens || destination_gone() || !reachable(*context_.source);
  };
  const auto waited = context_.reactor.run_until(over, context_.deadline, kListeningEvery);
  if (listens) return std::nullopt;
  const auto kind = waited == proc::Wait::interrupted ? base::ErrorKind::interrupted
                    : waited == proc::Wait::timeout   ? base::ErrorKind::timeout
                                                      : base::ErrorKind::subject;
  return channel_failed(
      {End::destination,
       {kind, "it does not listen on its cpr channel " + base::printable(context_.channels.cpr_socket), {}}});
}

proc::Wait LiveMigration::wait_settled() {
  const auto wait_for = [this](const std::function<bool()>& predicate) {
    return context_.reactor.run_until(predicate, context_.deadline, kProgressEvery);
  };
  if (raised_) return wait_for([&] { return settled(); });
  const auto waited = wait_for([&] { return settled() || context_.destination->ready(); });
  if (waited != proc::Wait::ready || !context_.destination->ready()) return waited;
  if (auto raised = context_.listener.raise(context_.deadline); !raised) {
    raise_error_ = std::move(raised.error());
    if (raise_error_->kind == base::ErrorKind::interrupted) return proc::Wait::interrupted;
    if (raise_error_->kind == base::ErrorKind::timeout) return proc::Wait::timeout;
  } else {
    raised_ = true;
  }
  return wait_for([&] { return settled(); });
}

MigrationOutcome LiveMigration::conclude(proc::Wait waited) {
  phases_.publish(source_, context_.listener);
  if (source_.saw("completed") && destination_.has_guest() && raised_) return finish(MigrationResult::completed, "");
  if (waited == proc::Wait::interrupted) return interrupted();
  if (waited == proc::Wait::timeout) return conclude_hang();
  if (!reachable(*context_.source)) return conclude_source_lost();
  return conclude_failed();
}

MigrationOutcome LiveMigration::conclude_source_lost() {
  const std::string loss = describe_loss(context_.reactor, *context_.source, "source");
  // It may have sent everything before it went.
  wait_for_other_end([&] { return destination_.has_guest() || destination_gone(); });
  if (destination_.has_guest() && reachable(*context_.destination)) {
    return finish(MigrationResult::completed, "after the switch-over: " + loss);
  }
  return finish(MigrationResult::source_lost, loss);
}

// The source is there and the migration did not succeed.
MigrationOutcome LiveMigration::conclude_failed() {
  if (refused()) {
    MigrationOutcome outcome = finish(MigrationResult::failed, migrate_error_->describe());
    outcome.source_runs = restore_source(context_.reactor, *context_.source, true);
    return outcome;
  }
  if (destination_gone()) {
    wait_for_other_end([&] { return source_.failed() || source_.saw("completed") || !reachable(*context_.source); });
  } else {
    wait_for_other_end([&] { return destination_gone(); });
  }
  if (!reachable(*context_.source)) return conclude_source_lost();

  const bool gone = destination_gone();
  std::string loss;
  if (gone && raise_error_ && reachable(*context_.destination)) {
    loss = base::printable("destination: " + raise_error_->describe(), 2000);
  } else if (gone) {
    loss = describe_loss(context_.reactor, *context_.destination, "destination");
  }
  if (gone && destination_.has_guest()) {
    // It ran the guest, however briefly, and may have written to the disks: the source must not run it again.
    return finish(MigrationResult::completed, "after the switch-over: " + loss);
  }
  MigrationOutcome outcome = finish(MigrationResult::failed, "");
  const std::string description = base::json_text(outcome.source_status, "error-desc", 2000);
  // A destination whose source gives up finds its stream cut and exits as well; that is the source's failure.
  const bool by_signal = outcome.destination_exit && outcome.destination_exit->signal != 0;
  // Cancelled is the source's own word, whatever the destination makes of its cut stream.
  if (gone && !source_.saw("cancelled") && (complains_of_channel(description) || by_signal || !source_.failed())) {
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
  if (source_ran_) outcome.source_runs = restore_source(context_.reactor, *context_.source, gone || source_.failed());
  return outcome;
}

MigrationOutcome LiveMigration::conclude_hang() {
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
  outcome.source_runs = restore_source(context_.reactor, *context_.source, false);
  return outcome;
}

MigrationOutcome LiveMigration::channel_failed(const ChannelError& error) {
  if (error.error.kind == base::ErrorKind::interrupted) return interrupted();
  if (!reachable(*context_.source)) {
    return finish(MigrationResult::source_lost, describe_loss(context_.reactor, *context_.source, "source"));
  }
  const char* which = error.end == End::source ? "source: " : "destination: ";
  std::string text = which + error.error.describe();
  auto result = error.error.kind == base::ErrorKind::timeout ? MigrationResult::hang : MigrationResult::failed;
  if (destination_gone()) {
    text = describe_loss(context_.reactor, *context_.destination, "destination");
    result = MigrationResult::destination_lost;
  }
  MigrationOutcome outcome = finish(result, std::move(text));
  if (source_ran_) outcome.source_runs = restore_source(context_.reactor, *context_.source, false);
  return outcome;
}

MigrationOutcome LiveMigration::interrupted() {
  if (context_.source->qmp().connected()) context_.source->qmp().send("migrate_cancel");
  MigrationOutcome outcome;
  outcome.interrupted = true;
  outcome.error = "interrupted";
  return outcome;
}

void LiveMigration::wait_for_other_end(const std::function<bool()>& predicate) {
  const auto both = [&] {
    source_.poll();
    destination_.poll();
    return predicate();
  };
  context_.reactor.run_until(both, base::Deadline::in(kOtherEndMax), kProgressEvery);
}

MigrationOutcome LiveMigration::finish(MigrationResult result, std::string error) {
  MigrationOutcome outcome;
  outcome.result = result;
  outcome.error = std::move(error);
  outcome.total_ms = base::milliseconds_between(began_, base::Clock::now());
  collect_statuses(context_, outcome);
  return outcome;
}

}  // namespace migsoak::ops
