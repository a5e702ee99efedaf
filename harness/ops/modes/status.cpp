#include "ops/modes/status.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "qmp/repeated_query.h"

namespace migsoak::ops {

namespace {

// Beyond the migration's own deadline: cleaning up after it must not hang either.
constexpr std::chrono::seconds kCollectMax{2};
constexpr std::chrono::seconds kRestoreMax{3};
constexpr std::chrono::milliseconds kTimesMax{500};
constexpr std::chrono::milliseconds kTimesEvery{1};
constexpr std::chrono::milliseconds kStateEvery{10};
constexpr std::chrono::milliseconds kResumesWithin{200};

struct Figure {
  const char* group;  // "" or a sub-object of MigrationInfo
  const char* key;
  const char* metric;
};
constexpr Figure kFigures[] = {
    {"", "total-time", "total_ms"},
    {"", "downtime", "downtime_ms"},
    {"", "setup-time", "setup_ms"},
    {"ram", "transferred", "ram_bytes"},
    {"ram", "total", "ram_total_bytes"},
    {"ram", "remaining", "remaining_bytes"},
    {"ram", "dirty-sync-count", "ram_dirty_sync_count"},
    {"ram", "normal", "ram_normal_pages"},
    {"ram", "duplicate", "ram_duplicate_pages"},
    {"ram", "mbps", "ram_mbit_per_s"},
};

// Statuses of MigrationInfo in which nothing is under way (QAPI MigrationStatus).
bool settled(const std::string& status) {
  static const std::vector<std::string> all = {"", "none", "completed", "failed", "cancelled"};
  return std::find(all.begin(), all.end(), status) != all.end();
}

std::string status_in(const base::Result<base::Json>& query_migrate) {
  return query_migrate ? base::json_get<std::string>(*query_migrate, "status", "") : "unknown";
}

bool runs_in(const base::Result<base::Json>& query_status) {
  return query_status && base::json_get<bool>(*query_status, "running", false);
}

// The source announces "completed" before its migration thread has worked out total-time and downtime (QEMU's
// migration_calculate_complete, a moment later under the same lock as query-migrate): until then both read 0.
bool lacks_times(const base::Json& status) {
  return base::json_get<std::string>(status, "status", "") == "completed" &&
         base::json_get<double>(status, "total-time", 0) == 0;
}

bool runs(qmp::Monitor& client, base::Deadline deadline) {
  return runs_in(client.execute("query-status", base::Json::object(), deadline));
}

// Until the status is one with its times.
void await_times(proc::Reactor& reactor, qmp::Monitor& source, base::Json& status, base::Deadline deadline) {
  if (!lacks_times(status)) return;
  qmp::RepeatedQuery query(source, "query-migrate", kTimesEvery);
  const auto over = [&] {
    const base::Result<base::Json>* answer = query.poll();
    if (answer == nullptr) return false;
    if (!*answer) return true;
    status = **answer;
    return !lacks_times(status);
  };
  reactor.run_until(over, deadline, kTimesEvery);
}

}  // namespace

std::vector<std::pair<std::string, double>> figures_of(const base::Json& query_migrate) {
  std::vector<std::pair<std::string, double>> figures;
  for (const Figure& figure : kFigures) {
    const bool nested = *figure.group != '\0';
    const base::Json group = nested ? base::json_get<base::Json>(query_migrate, figure.group, {}) : query_migrate;
    const double value = base::json_get<double>(group, figure.key, -1);
    if (value >= 0) figures.emplace_back(figure.metric, value);
  }
  return figures;
}

bool reachable(hypervisor::Machine& machine) {
  return machine.alive() && machine.qmp().connected();
}

std::string describe_loss(proc::Reactor& reactor, hypervisor::Machine& machine, const std::string& which) {
  const auto deadline = base::Deadline::in(std::chrono::seconds(1));
  reactor.run_until([&] { return !machine.alive(); }, deadline);
  if (machine.alive()) return fmt::format("{}: QMP: {}", which, machine.qmp().end_reason());
  const auto status = machine.exit_status();
  const auto lines = machine.last_lines();
  const std::size_t first = lines.size() > 8 ? lines.size() - 8 : 0;
  const std::vector<std::string> tail(lines.begin() + static_cast<std::ptrdiff_t>(first), lines.end());
  return base::printable(fmt::format("{} ended ({}): {}", which, status ? proc::to_string(*status) : "status unknown",
                                     tail.empty() ? "it said nothing" : base::join(tail, " | ")),
                         3000);
}

void collect_statuses(MigrationContext& context, MigrationOutcome& outcome) {
  const auto deadline = base::Deadline::in(kCollectMax);
  qmp::Monitor* source = context.source != nullptr ? &context.source->qmp() : nullptr;
  qmp::Monitor* destination = context.destination != nullptr ? &context.destination->qmp() : nullptr;
  // One that has not answered yet would only be waited for.
  if (destination != nullptr && !destination->connected()) destination = nullptr;
  const auto from_source = source != nullptr ? source->send("query-migrate") : 0;
  const auto from_destination = destination != nullptr ? destination->send("query-migrate") : 0;
  if (source != nullptr) {
    if (auto reply = source->take_reply(from_source, deadline)) outcome.source_status = std::move(*reply);
  }
  if (destination != nullptr) {
    auto reply = destination->take_reply(from_destination, deadline);
    if (reply) outcome.destination_status = std::move(*reply);
  }
  if (source != nullptr) {
    const auto times_by = base::Deadline::in(kTimesMax).sooner(deadline);
    await_times(context.reactor, *source, outcome.source_status, times_by);
  }
  outcome.figures = figures_of(outcome.source_status.is_object() ? outcome.source_status : outcome.destination_status);
  const hypervisor::Machine* machine = context.destination;
  if (machine != nullptr && !machine->alive()) outcome.destination_exit = machine->exit_status();
}

bool restore_source(proc::Reactor& reactor, hypervisor::Machine& source, bool may_continue) {
  qmp::Monitor& client = source.qmp();
  const auto deadline = base::Deadline::in(kRestoreMax);
  if (!reachable(source)) return false;
  std::string status = status_in(client.execute("query-migrate", base::Json::object(), deadline));
  if (!settled(status)) {
    (void)client.execute("migrate_cancel", base::Json::object(), deadline);
    qmp::RepeatedQuery query(client, "query-migrate", kStateEvery);
    const auto over = [&] {
      if (const auto* answer = query.poll()) status = status_in(*answer);
      return settled(status) || !reachable(source);
    };
    if (reactor.run_until(over, deadline, kStateEvery) == proc::Wait::interrupted) return false;
  }
  if (runs(client, deadline)) return true;
  // A cancelled or failed migration starts its guest again by itself, a little after the status says so (QEMU's
  // migration_iteration_finish runs in a bottom half); a completed one never does.
  if (status != "completed") {
    bool running = false;
    qmp::RepeatedQuery query(client, "query-status", kStateEvery);
    const auto over = [&] {
      if (const auto* answer = query.poll()) running = runs_in(*answer);
      return running || client.has_event("RESUME") || !reachable(source);
    };
    const auto waited = reactor.run_until(over, base::Deadline::in(kResumesWithin).sooner(deadline), kStateEvery);
    if (waited == proc::Wait::interrupted) return false;
    if (running) return true;
    if (reachable(source) && client.has_event("RESUME")) return runs(client, deadline);
  }
  if (!may_continue || !reachable(source) || deadline.passed()) return false;
  (void)client.execute("cont", base::Json::object(), deadline);
  return runs(client, deadline);
}

}  // namespace migsoak::ops
