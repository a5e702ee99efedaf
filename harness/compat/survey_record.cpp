#include "compat/survey_record.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <ctime>

#include "base/text.h"
#include "record/journal.h"

namespace migsoak::compat {

namespace {

// The builds of --from and --to; in the other direction b is the source.
constexpr const char* kFromSide = "a";
constexpr const char* kToSide = "b";

record::IterationStatus status_of(Compatibility verdict) {
  switch (verdict) {
    case Compatibility::same:
    case Compatibility::compatible: return record::IterationStatus::completed;
    case Compatibility::incompatible: return record::IterationStatus::failed;
    case Compatibility::unknown: break;
  }
  return record::IterationStatus::unknown;
}

// A pair that does not go together, as the failure of a migration is recorded.
void record_failure(const DeviceReport& device, record::Journal& journal) {
  const std::string from = device_text(device.device, Side::from), to = device_text(device.device, Side::to);
  const std::string text = base::printable(fmt::format("{}{}: {}", from, from == to ? "" : " to " + to,
                                                       device.reason.empty() ? "incompatible" : device.reason));
  base::Json log = base::Json::array();
  for (const StateReport& state : device.states) {
    if (state.outcome != LoadOutcome::refused) continue;
    for (const std::string& line : state.lines) log.push_back(base::printable(line));
  }
  journal.event(record::event_kind::kMigrationFailed, "qemu:" + journal.plan().destination_side)
      .text(text)
      .detail({{"error_desc", text},
               {"status", "incompatible"},
               {"side", "destination"},
               {"destination_log", std::move(log)}})
      .since(journal.phase(), 0);  // a survey tells no times
}

void append(const SurveyReport& report, const char* source, const char* destination, long long now_unix_ms,
            std::vector<record::Observation>& all) {
  for (const DeviceReport& device : report.devices) {
    record::Observation& one = all.emplace_back();
    one.iteration = static_cast<std::int64_t>(all.size()) - 1;
    one.lineage = static_cast<int>(one.iteration);  // the state of one VM never gets further than one load
    one.plan.iteration = one.iteration;
    one.plan.source_side = source;
    one.plan.destination_side = destination;
    one.plan.mode = kSurveyMode;
    one.plan.transport = "fd";
    one.plan.machine = report.machine;
    one.status = status_of(device.verdict);
    one.phase = "migrate";
    one.started_unix_ms = now_unix_ms;
    record::Journal journal(one);
    if (device.verdict == Compatibility::incompatible) record_failure(device, journal);
    one.documents.push_back({kDeviceDocument, fmt::format("qemu:{}", destination), 0, "destination", to_json(device)});
  }
  for (const SurveyReport& reverse : report.reverse) append(reverse, destination, source, now_unix_ms, all);
}

std::size_t pairs_in(const SurveyReport& report) {
  std::size_t count = report.devices.size();
  for (const SurveyReport& reverse : report.reverse) count += pairs_in(reverse);
  return count;
}

}  // namespace

record::Manifest manifest_of(const SurveyReport& report, const std::string& command, long long now_unix_ms) {
  record::Manifest manifest;
  manifest.run = fmt::format("compat-{:%Y%m%dT%H%M%SZ}", fmt::gmtime(static_cast<std::time_t>(now_unix_ms / 1000)));
  manifest.scenario = "compat";
  manifest.iterations_planned = static_cast<std::int64_t>(pairs_in(report));
  manifest.started_unix_ms = now_unix_ms;
  manifest.sides = {{kFromSide, report.from, report.from_version}, {kToSide, report.to, report.to_version}};
  manifest.environment = {{"command", command},
                          {"machine", report.machine},
                          {"placement", to_string(report.placement)},
                          {"left_out", report.left_out}};
  return manifest;
}

std::vector<record::Observation> observations_of(const SurveyReport& report, long long now_unix_ms) {
  std::vector<record::Observation> all;
  append(report, kFromSide, kToSide, now_unix_ms, all);
  return all;
}

}  // namespace migsoak::compat
