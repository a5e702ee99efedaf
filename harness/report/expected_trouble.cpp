#include "report/expected_trouble.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "base/text.h"
#include "store/store.h"

namespace migsoak::report {

namespace {

using record::ExpectedTrouble;
using record::TroubleCause;

constexpr std::size_t kTroubleRowsMax = 1000;  // a hostile database may hold any number; the total has them all
constexpr std::size_t kTroubleTargetsMax = 1000;

// As they follow each other in an iteration; unknown ones come last.
constexpr std::array<const char*, 4> kTroubleTimings = {"between", "before", "during", "after"};

std::size_t restart_rank(const std::string& timing) {
  return static_cast<std::size_t>(std::find(kTroubleTimings.begin(), kTroubleTimings.end(), timing) -
                                  kTroubleTimings.begin());
}

using TroubleCount = std::int64_t TroubleTally::*;
constexpr std::array<std::pair<CountColumn, TroubleCount>, 21> kTroubleColumns = {{
    {{"", "times", true}, &TroubleTally::declared},
    {{"as", "declared", true}, &TroubleTally::as_declared},
    {{"", "otherwise", false}, &TroubleTally::otherwise},
    {{"did not", "happen", false}, &TroubleTally::nothing},
    {{"old VM", "ran on", false}, &TroubleTally::kept_running},
    {{"", "resumed", false}, &TroubleTally::resumed},
    {{"started", "again", false}, &TroubleTally::started_again},
    {{"new", "side", false}, &TroubleTally::new_side},
    {{"", "recovered", false}, &TroubleTally::recovered},
    {{"with", "errors", false}, &TroubleTally::with_errors},
    {{"I/O", "errors", false}, &TroubleTally::io_errors},
    {{"guest", "ended", false}, &TroubleTally::ended_guest},
    {{"", "lost", true}, &TroubleTally::lost},
    {{"not", "back", false}, &TroubleTally::not_reconnected},
    {{"", "unknown", false}, &TroubleTally::unknown},
    {{"", "intact", false}, &TroubleTally::intact},
    {{"", "damaged", false}, &TroubleTally::damaged},
    {{"", "migrated", false}, &TroubleTally::migrated},
    {{"not", "migrated", false}, &TroubleTally::not_migrated},
    {{"in", "flight", false}, &TroubleTally::in_flight_max},
    {{"max", "ms", true}, &TroubleTally::longest_ms},
}};

TroubleCount came_of_upgrade(const ExpectedTrouble& trouble) {
  if (trouble.fate == "destination") return &TroubleTally::new_side;
  if (trouble.fate == "lost") return &TroubleTally::lost;
  if (trouble.fate != "source") return &TroubleTally::unknown;
  if (trouble.how == "kept-running") return &TroubleTally::kept_running;
  if (trouble.how == "resumed") return &TroubleTally::resumed;
  return trouble.how == "started-again" ? &TroubleTally::started_again : &TroubleTally::unknown;
}

TroubleCount came_of_restart(const ExpectedTrouble& trouble) {
  if (trouble.result == "recovered") return &TroubleTally::recovered;
  if (trouble.result == "io-errors") return &TroubleTally::with_errors;
  if (trouble.result == "lost") return &TroubleTally::lost;
  return trouble.result == "not-reconnected" ? &TroubleTally::not_reconnected : &TroubleTally::unknown;
}

// Null: nothing that a column of its own tells.
TroubleCount came_of_edge(const ExpectedTrouble& trouble) {
  return trouble.seen == record::TroubleSeen::as_declared && !trouble.ended_guest ? &TroubleTally::stayed : nullptr;
}

TroubleTally tally_of(const ExpectedTrouble& trouble) {
  TroubleTally one;
  one.declared = 1;
  one.as_declared = trouble.seen == record::TroubleSeen::as_declared ? 1 : 0;
  one.otherwise = trouble.seen == record::TroubleSeen::otherwise ? 1 : 0;
  one.nothing = trouble.seen == record::TroubleSeen::nothing_happened ? 1 : 0;
  one.ended_guest = trouble.ended_guest ? 1 : 0;
  one.longest_ms = bounded_count(trouble.took_ms);
  if (trouble.result == record::kNotReached) {
    one.not_reached = 1;
    return one;
  }
  one.intact = trouble.intact.value_or(false) ? 1 : 0;
  one.damaged = trouble.intact.value_or(true) ? 0 : 1;
  one.migrated = trouble.migrates.value_or(false) ? 1 : 0;
  one.not_migrated = trouble.migrates.value_or(true) ? 0 : 1;
  one.io_errors = trouble.io_errors;
  one.in_flight_max = trouble.in_flight.value_or(kNotOnRecord);
  TroubleCount came = nullptr;
  switch (trouble.declared.cause) {
    case TroubleCause::edge: came = came_of_edge(trouble); break;
    case TroubleCause::upgrade_failure: came = came_of_upgrade(trouble); break;
    case TroubleCause::restart: came = came_of_restart(trouble); break;
  }
  if (came != nullptr) one.*came = 1;
  return one;
}

std::map<std::string, std::string> builds_of(const record::Manifest& manifest) {
  std::map<std::string, std::string> builds;
  for (const record::SideInfo& side : manifest.sides) {
    builds[side.name] = base::printable(side.qemu_version.empty() ? side.name : side.qemu_version, 24);
  }
  return builds;
}

bool has_several_builds(const record::Manifest& manifest) {
  std::set<std::string> versions;
  for (const record::SideInfo& side : manifest.sides) {
    if (!side.qemu_version.empty()) versions.insert(side.qemu_version);
  }
  return versions.size() > 1;
}

std::string subject_of(const ExpectedTrouble& trouble) {
  return trouble.declared.subjects.empty() ? "" : base::printable(trouble.declared.subjects.front(), 40);
}

TroubleKey key_of(const ExpectedTrouble& trouble, const std::string& builds) {
  TroubleKey key;
  key.cause = trouble.declared.cause;
  key.what = base::printable(trouble.declared.what, 40);
  key.when = base::printable(trouble.declared.when, 20);
  std::vector<std::string> allows;
  for (const std::string& one : trouble.declared.allows) {
    // The connection is cut by any restart.
    if (one != record::outcome::kReconnects || trouble.declared.allows.size() == 1) allows.push_back(one);
  }
  key.allows = base::printable(base::join(allows, ", "), 40);
  switch (key.cause) {
    case TroubleCause::edge: key.ends = base::printable(trouble.from + "→" + trouble.to, 40); break;
    case TroubleCause::upgrade_failure: key.of = base::printable(trouble.mode, 40); break;
    case TroubleCause::restart:
      key.of = subject_of(trouble);
      key.ends = builds;
      break;
  }
  return key;
}

std::string group_of(const TroubleKey& key) {
  switch (key.cause) {
    case TroubleCause::edge: return "migration, declared: " + key.allows;
    case TroubleCause::upgrade_failure: return "upgrade by " + key.of + ", made to fail";
    case TroubleCause::restart: {
      const bool allows_more = !key.allows.empty() && key.allows != record::outcome::kReconnects;
      return "restart of " + key.of + (allows_more ? ", may bring " + key.allows : "");
    }
  }
  return "";
}

std::string edges_text(const TroubleTally& edges) {
  std::string words =
      fmt::format("{} refused as declared, {} ended the guest as declared", edges.stayed, edges.ended_guest);
  if (edges.otherwise > 0) words += fmt::format(", {} failed otherwise", edges.otherwise);
  if (edges.nothing > edges.not_reached) words += fmt::format(", {} did not fail", edges.nothing - edges.not_reached);
  return words;
}

std::string upgrades_failed_text(const TroubleTally& upgrades) {
  std::string words =
      fmt::format("{}: the guest was in the old VM after {}, in the new one after {}, lost in {}",
                  plural(upgrades.declared - upgrades.not_reached, "upgrade"),
                  upgrades.kept_running + upgrades.resumed + upgrades.started_again, upgrades.new_side, upgrades.lost);
  if (upgrades.unknown > 0) words += fmt::format(", unknown in {}", upgrades.unknown);
  return words + fmt::format("; {} verified intact, {} migrated afterwards", upgrades.intact, upgrades.migrated);
}

std::string restarts_text(const TroubleTally& restarts, const std::set<std::string>& subjects) {
  const std::int64_t daemons = std::count_if(
      subjects.begin(), subjects.end(), [](const std::string& subject) { return subject.starts_with("libvirtd:"); });
  const std::int64_t targets = static_cast<std::int64_t>(subjects.size()) - daemons;
  std::vector<std::string> whose;
  if (targets > 0 || daemons == 0) whose.push_back(plural(targets, "target"));
  if (daemons > 0) whose.push_back(plural(daemons, "daemon"));
  std::string words =
      fmt::format("{} of {}: {} recovered, {} with I/O errors ({}), {} lost, {} not connected again",
                  restarts.declared - restarts.not_reached, base::join(whose, ", "), restarts.recovered,
                  restarts.with_errors, plural(restarts.io_errors, "error"), restarts.lost, restarts.not_reconnected);
  if (restarts.unknown > 0) words += fmt::format(", {} unknown", restarts.unknown);
  if (restarts.ended_guest > 0) words += fmt::format("; {} ended the guest, as declared", restarts.ended_guest);
  return words;
}

// Of one cause, or of all.
CountTable table_of(const ExpectedTroubles& troubles, std::optional<TroubleCause> cause) {
  std::vector<const std::pair<const TroubleKey, TroubleTally>*> rows;
  for (const auto& row : troubles.rows) {
    if (!cause || row.first.cause == *cause) rows.push_back(&row);
  }
  const bool has_ends = std::any_of(rows.begin(), rows.end(), [](const auto* row) { return !row->first.ends.empty(); });
  std::vector<CountColumn> columns;
  for (const auto& [column, count] : kTroubleColumns) columns.push_back(column);
  std::vector<std::string> key_names = {"what"};
  if (has_ends) key_names.emplace_back("from→to");
  CountTable table(std::move(key_names), std::move(columns));
  for (const auto* row : rows) {
    const auto& [key, tally] = *row;
    std::vector<std::int64_t> counts;
    for (const auto& [column, count] : kTroubleColumns) counts.push_back(tally.*count);
    std::vector<std::string> keys = {key.what + (key.when.empty() ? "" : ", " + key.when)};
    if (has_ends) keys.push_back(key.ends);
    table.row(group_of(key), std::move(keys), std::move(counts));
  }
  return table;
}

}  // namespace

bool TroubleKey::operator<(const TroubleKey& other) const {
  const std::size_t rank = restart_rank(when), others = restart_rank(other.when);
  return std::tie(cause, of, allows, what, rank, when, ends) <
         std::tie(other.cause, other.of, other.allows, other.what, others, other.when, other.ends);
}

void TroubleTally::add(const TroubleTally& other) {
  const std::int64_t in_flight = std::max(in_flight_max, other.in_flight_max);
  const std::int64_t longest = std::max(longest_ms, other.longest_ms);
  for (const auto& [column, count] : kTroubleColumns) this->*count += other.*count;
  stayed += other.stayed;
  not_reached += other.not_reached;
  in_flight_max = in_flight;
  longest_ms = longest;
}

base::Result<ExpectedTroubles> expected_troubles_of(const store::Store& store) {
  ExpectedTroubles troubles;
  const bool several_builds = has_several_builds(store.manifest());
  const std::map<std::string, std::string> build_of = builds_of(store.manifest());
  const auto build = [&](const std::string& side) {
    const auto found = build_of.find(side);
    return found != build_of.end() ? found->second : base::printable(side, 24);
  };
  const auto take = [&](const store::Store::EventPlace& place, const record::Event& event) -> base::Result<void> {
    const auto trouble = record::expected_trouble_from(event);
    if (!trouble) return {};
    const TroubleTally one = tally_of(*trouble);
    troubles.total.add(one);
    troubles.by_cause[trouble->declared.cause].add(one);
    const bool restarted = trouble->declared.cause == TroubleCause::restart && one.not_reached == 0;
    if (restarted && troubles.targets.size() < kTroubleTargetsMax) troubles.targets.insert(subject_of(*trouble));
    const TroubleKey key = key_of(*trouble, several_builds ? build(place.source) + "→" + build(place.destination) : "");
    if (troubles.rows.size() < kTroubleRowsMax || troubles.rows.contains(key)) troubles.rows[key].add(one);
    return {};
  };
  for (const char* kind : record::kTroubleEvents) MIGSOAK_TRY(store.for_each_event_at(kind, take));
  return troubles;
}

void print_expected_troubles(Page& page, const ExpectedTroubles& troubles) {
  const TroubleTally& total = troubles.total;
  if (total.declared == 0) return;
  std::string words =
      fmt::format("{} declared, {} brought about: {} as declared, {} otherwise", plural(total.declared, "trouble"),
                  total.declared - total.not_reached, total.as_declared, total.otherwise);
  if (total.nothing > total.not_reached) words += fmt::format(", {} to no effect", total.nothing - total.not_reached);
  page.labelled("expected", words, 4);
  for (const auto& [cause, tally] : troubles.by_cause) {
    switch (cause) {
      case TroubleCause::edge: page.labelled("  edges", edges_text(tally), 4); break;
      case TroubleCause::upgrade_failure: page.labelled("  upgrades", upgrades_failed_text(tally), 4); break;
      case TroubleCause::restart: page.labelled("  restarts", restarts_text(tally, troubles.targets), 4); break;
    }
  }
  const CountTable table = table_of(troubles, std::nullopt);
  if (table.fits(page)) {
    table.put_on(page);
    return;
  }
  // Each cause has columns of its own.
  for (const auto& [cause, tally] : troubles.by_cause) table_of(troubles, cause).put_on(page);
}

}  // namespace migsoak::report
