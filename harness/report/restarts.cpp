#include "report/restarts.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>

#include "base/text.h"

namespace migsoak::report {

namespace {

constexpr std::size_t kRestartRowsMax = 1000;  // a hostile database may hold any number; the total has them all

// As they follow each other in an iteration; unknown ones come last.
constexpr std::array<const char*, 4> kRestartTimings = {"between", "before", "during", "after"};

std::size_t restart_rank(const std::string& timing) {
  return static_cast<std::size_t>(std::find(kRestartTimings.begin(), kRestartTimings.end(), timing) -
                                  kRestartTimings.begin());
}

using RestartCount = std::int64_t RestartTally::*;
constexpr std::array<std::pair<CountColumn, RestartCount>, 10> kRestartColumns = {{
    {{"", "restarts", true}, &RestartTally::restarts},
    {{"", "recovered", true}, &RestartTally::recovered},
    {{"with", "errors", false}, &RestartTally::with_errors},
    {{"I/O", "errors", true}, &RestartTally::io_errors},
    {{"guest", "ended", false}, &RestartTally::ended_guest},
    {{"", "lost", true}, &RestartTally::lost},
    {{"not", "back", true}, &RestartTally::not_reconnected},
    {{"", "unknown", false}, &RestartTally::unknown},
    {{"in", "flight", true}, &RestartTally::in_flight_max},
    {{"max", "ms", true}, &RestartTally::longest_ms},
}};

RestartCount result_of(const base::Json& detail) {
  const std::string result = base::json_get<std::string>(detail, "result", "");
  if (result == "recovered") return &RestartTally::recovered;
  if (result == "io-errors") return &RestartTally::with_errors;
  if (result == "lost") return &RestartTally::lost;
  return result == "not-reconnected" ? &RestartTally::not_reconnected : &RestartTally::unknown;
}

std::map<std::string, std::string> versions_of(const record::Manifest& manifest) {
  std::map<std::string, std::string> versions;
  for (const record::SideInfo& side : manifest.sides) {
    versions[side.name] = base::printable(side.qemu_version.empty() ? side.name : side.qemu_version, 24);
  }
  return versions;
}

void take_restart(Restarts& restarts, const record::Event& event, const std::string& builds) {
  const base::Json& detail = event.detail;
  RestartTally one;
  one.restarts = 1;
  one.*result_of(detail) = 1;
  one.io_errors = bounded_count(base::json_get<double>(detail, "io_errors", 0));
  one.ended_guest = base::json_get<bool>(detail, "ended_guest", false) ? 1 : 0;
  if (base::json_get(detail, "in_flight", base::Json()).is_number()) {
    one.in_flight_max = bounded_count(base::json_get<double>(detail, "in_flight", 0));
  }
  one.longest_ms = bounded_count(base::json_get<double>(detail, "took_ms", 0));
  restarts.total.add(one);
  const RestartKey key{base::printable(event.subject, 40),
                       base::printable(base::json_get<std::string>(detail, "how", ""), 20),
                       base::printable(base::json_get<std::string>(detail, "timing", ""), 20), builds};
  if (restarts.rows.size() < kRestartRowsMax || restarts.rows.contains(key)) restarts.rows[key].add(one);
}

}  // namespace

bool RestartKey::operator<(const RestartKey& other) const {
  const std::size_t rank = restart_rank(timing), others = restart_rank(other.timing);
  return std::tie(target, how, rank, timing, builds) <
         std::tie(other.target, other.how, others, other.timing, other.builds);
}

void RestartTally::add(const RestartTally& other) {
  const std::int64_t in_flight = std::max(in_flight_max, other.in_flight_max);
  const std::int64_t longest = std::max(longest_ms, other.longest_ms);
  for (const auto& [column, count] : kRestartColumns) this->*count += other.*count;
  in_flight_max = in_flight;
  longest_ms = longest;
}

base::Result<Restarts> restarts_of(const store::Store& store) {
  Restarts restarts;
  std::set<std::string> versions;
  for (const record::SideInfo& side : store.manifest().sides) {
    if (!side.qemu_version.empty()) versions.insert(side.qemu_version);
  }
  restarts.several_builds = versions.size() > 1;
  const std::map<std::string, std::string> version_of = versions_of(store.manifest());
  const auto version = [&](const std::string& side) {
    const auto found = version_of.find(side);
    return found != version_of.end() ? found->second : base::printable(side, 24);
  };
  MIGSOAK_TRY(store.for_each_event_at(
      record::event_kind::kTargetRestart,
      [&](const store::Store::EventPlace& place, const record::Event& event) -> base::Result<void> {
        take_restart(restarts, event,
                     restarts.several_builds ? version(place.source) + "→" + version(place.destination) : "");
        return {};
      }));
  return restarts;
}

void print_restarts(Page& page, const Restarts& restarts) {
  const RestartTally& total = restarts.total;
  if (total.restarts == 0) return;
  std::set<std::string> targets;
  for (const auto& [key, tally] : restarts.rows) targets.insert(key.target);
  std::string words =
      fmt::format("{} of {}: {} recovered, {} with I/O errors ({}), {} lost, {} not connected again", total.restarts,
                  plural(static_cast<std::int64_t>(targets.size()), "target"), total.recovered, total.with_errors,
                  plural(total.io_errors, "error"), total.lost, total.not_reconnected);
  if (total.unknown > 0) words += fmt::format(", {} unknown", total.unknown);
  if (total.ended_guest > 0) words += fmt::format("; {} ended the guest, as declared", total.ended_guest);
  page.labelled("restarts", words, 4);
  std::vector<CountColumn> columns;
  for (const auto& [column, count] : kRestartColumns) columns.push_back(column);
  std::vector<std::string> key_names = {"how", "timing"};
  if (restarts.several_builds) key_names.emplace_back("QEMU");
  CountTable table(std::move(key_names), std::move(columns));
  for (const auto& [key, tally] : restarts.rows) {
    std::vector<std::string> keys = {key.how, key.timing};
    if (restarts.several_builds) keys.push_back(key.builds);
    std::vector<std::int64_t> counts;
    for (const auto& [column, count] : kRestartColumns) counts.push_back(tally.*count);
    table.row(key.target, std::move(keys), std::move(counts));
  }
  table.put_on(page);
}

}  // namespace migsoak::report
