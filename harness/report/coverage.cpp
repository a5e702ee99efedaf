#include "report/coverage.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/text.h"
#include "store/store.h"

namespace migsoak::report {

namespace {

constexpr std::size_t kTroublesMax = 3;
constexpr std::size_t kKeysMax = 1000;       // a hostile database may hold any number of kinds
constexpr std::size_t kPlacementsMax = 256;  // of one kind

// The order in which a reader expects them; unknown ones follow.
constexpr std::array<const char*, 3> kTimings = {"settled", "at-once", "refused"};

std::size_t timing_rank(const std::string& timing) {
  return static_cast<std::size_t>(std::find(kTimings.begin(), kTimings.end(), timing) - kTimings.begin());
}

std::string count_text(std::int64_t count) {
  return count == 0 ? "·" : std::to_string(count);
}

struct Column {
  const char* name;
  std::int64_t HotplugTally::*count;
  bool always;  // shown when all are zero, too
};
constexpr std::array<Column, 5> kColumns = {{{"plug", &HotplugTally::plugged, true},
                                             {"unplug", &HotplugTally::unplugged, true},
                                             {"unconfirmed", &HotplugTally::unconfirmed, true},
                                             {"refused", &HotplugTally::refused, false},
                                             {"skipped", &HotplugTally::skipped, false}}};

std::vector<Column> columns_shown(const Coverage& coverage) {
  std::vector<Column> shown;
  for (const Column& column : kColumns) {
    if (column.always || coverage.total.*column.count > 0) shown.push_back(column);
  }
  return shown;
}

// Those of the scenario first, in its order.
std::vector<std::string> machines_of(const Coverage& coverage, const Requested& requested) {
  std::vector<std::string> machines;
  const auto has = [&](const std::string& name) {
    return std::any_of(coverage.rows.begin(), coverage.rows.end(),
                       [&](const auto& row) { return row.first.machine == name; });
  };
  std::copy_if(requested.machines.begin(), requested.machines.end(), std::back_inserter(machines), has);
  for (const auto& [key, tally] : coverage.rows) {
    if (std::find(machines.begin(), machines.end(), key.machine) == machines.end()) machines.push_back(key.machine);
  }
  return machines;
}

std::vector<std::pair<std::string, std::string>> kinds_and_timings(const Coverage& coverage) {
  std::vector<std::pair<std::string, std::string>> all;
  for (const auto& [key, tally] : coverage.rows) {
    if (all.empty() || all.back() != std::pair(key.kind, key.timing)) all.emplace_back(key.kind, key.timing);
  }
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) {
    return std::tuple(a.first, timing_rank(a.second), a.second) < std::tuple(b.first, timing_rank(b.second), b.second);
  });
  all.erase(std::unique(all.begin(), all.end()), all.end());
  return all;
}

HotplugTally tally_of(const Coverage& coverage, const HotplugKey& key) {
  const auto found = coverage.rows.find(key);
  return found != coverage.rows.end() ? found->second : HotplugTally{};
}

// Machines side by side. The heading is two rows: the machine stands over its first column.
Grid wide_grid(const Coverage& coverage, const std::vector<std::string>& machines, const std::vector<Column>& columns) {
  Grid grid(2);
  std::vector<std::string> over = {"", ""}, heading = {"kind", "timing"};
  for (const std::string& machine : machines) {
    for (const Column& column : columns) {
      over.push_back(&column == &columns.front() ? cut_to(base::printable(machine, 60), 20) : "");
      heading.push_back(column.name);
    }
  }
  if (machines.size() > 1 || !machines.front().empty()) grid.row(over);
  grid.row(heading);
  for (const auto& [kind, timing] : kinds_and_timings(coverage)) {
    std::vector<std::string> row = {base::printable(kind, 40), base::printable(timing, 20)};
    for (const std::string& machine : machines) {
      const HotplugTally tally = tally_of(coverage, {kind, timing, machine});
      for (const Column& column : columns) row.push_back(count_text(tally.*column.count));
    }
    grid.row(row);
  }
  return grid;
}

Grid long_grid(const Coverage& coverage, const std::vector<std::string>& machines, const std::vector<Column>& columns) {
  Grid grid(3);
  std::vector<std::string> heading = {"kind", "timing", "machine"};
  for (const Column& column : columns) heading.push_back(column.name);
  grid.row(heading);
  for (const auto& [kind, timing] : kinds_and_timings(coverage)) {
    for (const std::string& machine : machines) {
      const auto found = coverage.rows.find({kind, timing, machine});
      if (found == coverage.rows.end()) continue;
      std::vector<std::string> row = {base::printable(kind, 40), base::printable(timing, 20),
                                      cut_to(base::printable(machine, 60), 20)};
      for (const Column& column : columns) row.push_back(count_text(found->second.*column.count));
      grid.row(row);
    }
  }
  return grid;
}

// What the scenario wanted and the guest never confirmed, the coarsest words first: "everything on q35", "memory",
// "cpu on pc", "virtio-net at-once on pc".
std::vector<std::string> never_reached(const Coverage& coverage, const Requested& requested) {
  std::vector<std::string> never;
  const auto reached = [&](const std::string& kind, const std::string& timing, const std::string& machine) {
    return std::any_of(coverage.rows.begin(), coverage.rows.end(), [&](const auto& row) {
      return (kind.empty() || row.first.kind == kind) && (timing.empty() || row.first.timing == timing) &&
             (machine.empty() || row.first.machine == machine) && row.second.reached();
    });
  };
  std::vector<std::string> machines;
  const std::vector<std::string> asked =
      requested.machines.empty() ? machines_of(coverage, requested) : requested.machines;
  for (const std::string& machine : asked) {
    if (reached("", "", machine)) {
      machines.push_back(machine);
    } else {
      never.push_back("everything on " + base::printable(machine, 40));
    }
  }
  const std::vector<std::string> timings =
      requested.timings.empty() ? std::vector<std::string>{"settled"} : requested.timings;
  for (const std::string& kind : requested.kinds) {
    const std::string name = base::printable(kind, 40);
    if (!reached(kind, "", "")) {
      never.push_back(name);
      continue;
    }
    std::vector<std::string> with_kind;
    for (const std::string& machine : machines) {
      if (reached(kind, "", machine)) {
        with_kind.push_back(machine);
      } else {
        never.push_back(name + " on " + base::printable(machine, 40));
      }
    }
    for (const std::string& timing : timings) {
      std::vector<std::string> without;
      std::copy_if(with_kind.begin(), with_kind.end(), std::back_inserter(without),
                   [&](const std::string& machine) { return !reached(kind, timing, machine); });
      const std::string what = name + " " + base::printable(timing, 20);
      if (!without.empty() && without.size() == machines.size()) {
        never.push_back(what);
        continue;
      }
      for (const std::string& machine : without) never.push_back(what + " on " + base::printable(machine, 40));
    }
  }
  return never;
}

// By multiples of the smallest size that was seen: on an odd one a larger BAR can't stand.
void print_placements(Page& page, const Coverage& coverage) {
  for (const auto& [kind, seen] : coverage.placements) {
    std::uint64_t smallest = 0;
    for (const auto& [address, size] : seen) smallest = smallest == 0 ? size : std::min(smallest, size);
    const auto odd =
        std::count_if(seen.begin(), seen.end(), [&](const auto& place) { return place.first / smallest % 2 == 1; });
    page.labelled(
        "BAR0", fmt::format("{}: stood on {} odd and {} even multiples of {:#x} bytes", base::printable(kind, 40), odd,
                            static_cast<std::ptrdiff_t>(seen.size()) - odd, smallest));
  }
}

void take_operation(Coverage& coverage, std::int64_t iteration, const record::Event& event) {
  const base::Json& detail = event.detail;
  const auto text = [&](const char* key) { return base::json_get<std::string>(detail, key, ""); };
  const std::string result = text("result"), action = text("action");
  const bool confirmed = base::json_get<bool>(detail, "confirmed", false);
  HotplugTally one;
  if (result == "done" && confirmed) {
    ++(action == "unplug" ? one.unplugged : one.plugged);
  } else if (result == "expected-refusal") {
    ++one.refused;
  } else if (result == "skipped") {
    ++one.skipped;
  } else {
    ++one.unconfirmed;
    if (coverage.troubles.size() < kTroublesMax) {
      const std::string error = text("error");
      coverage.troubles.push_back(fmt::format(
          "{} of {} {} ({}) in iteration {}: {}{}", base::printable(action, 20), base::printable(text("kind"), 40),
          base::printable(text("device"), 40), base::printable(text("timing"), 20), iteration,
          result == "done" ? "done, but the guest did not confirm it" : base::printable(result, 40),
          error.empty() ? "" : ", " + base::printable(error, 160)));
    }
  }
  ++coverage.events;
  coverage.total.add(one);
  const HotplugKey key{text("kind"), text("timing"), text("machine")};
  if (coverage.rows.size() < kKeysMax || coverage.rows.contains(key)) coverage.rows[key].add(one);
  const base::Json bar = base::json_get(detail, "bar0", base::Json());
  const auto size = base::json_get<std::uint64_t>(bar, "size", 0);
  auto& seen = coverage.placements;
  if (size == 0 || (seen.size() >= kKeysMax && !seen.contains(key.kind))) return;
  if (seen[key.kind].size() < kPlacementsMax) {
    seen[key.kind].emplace(base::json_get<std::uint64_t>(bar, "address", 0), size);
  }
}

}  // namespace

void HotplugTally::add(const HotplugTally& other) {
  plugged += other.plugged;
  unplugged += other.unplugged;
  unconfirmed += other.unconfirmed;
  refused += other.refused;
  skipped += other.skipped;
}

base::Result<Coverage> coverage_of(const store::Store& store, std::int64_t planned) {
  Coverage coverage;
  coverage.planned = planned;
  MIGSOAK_TRY(store.for_each_event(record::event_kind::kHotplug,
                                   [&](std::int64_t iteration, const record::Event& event) -> base::Result<void> {
                                     take_operation(coverage, iteration, event);
                                     return {};
                                   }));
  return coverage;
}

base::Result<Coverage> coverage_of(const store::Store& store) {
  std::int64_t planned = 0;
  MIGSOAK_TRY(store.for_each_iteration({}, [&](const store::Store::IterationRow& row, const store::Store::Values&) {
    if (row.status != record::IterationStatus::started) planned += row.operations;
    return base::Result<void>();
  }));
  return coverage_of(store, planned);
}

void print_coverage(Page& page, const Coverage& coverage, const Requested& requested) {
  if (coverage.events == 0 && coverage.planned == 0) return;
  const HotplugTally& total = coverage.total;
  std::string words = fmt::format("{} confirmed by the guest, {} not",
                                  plural(total.plugged + total.unplugged, "operation"), total.unconfirmed);
  if (total.refused > 0) words += fmt::format("; {} refused during a migration, as expected", total.refused);
  if (total.skipped > 0) words += fmt::format("; {} skipped", total.skipped);
  if (coverage.planned > coverage.events) {
    words +=
        fmt::format("; {} planned and not concluded: the iteration ended first", coverage.planned - coverage.events);
  }
  page.labelled("hotplug", words);
  if (!coverage.rows.empty()) {
    const std::vector<std::string> machines = machines_of(coverage, requested);
    const std::vector<Column> columns = columns_shown(coverage);
    const Grid wide = wide_grid(coverage, machines, columns);
    (wide.width() <= page.width() ? wide : long_grid(coverage, machines, columns)).put_on(page);
  }
  for (const std::string& trouble : coverage.troubles) page.labelled("unconfirmed", base::printable(trouble));
  if (total.unconfirmed > static_cast<std::int64_t>(coverage.troubles.size())) {
    page.labelled("",
                  fmt::format("and {} more", total.unconfirmed - static_cast<std::int64_t>(coverage.troubles.size())));
  }
  const std::vector<std::string> never = never_reached(coverage, requested);
  if (!never.empty()) page.labelled("never", "wanted by the scenario, never done: " + base::join(never, ", "), 3);
  print_placements(page, coverage);
}

}  // namespace migsoak::report
