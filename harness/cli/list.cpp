#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>

#include "base/json.h"
#include "base/text.h"
#include "cli/commands.h"
#include "detect/judge.h"
#include "hypervisor/driver.h"
#include "hypervisor/machine_spec.h"
#include "ops/hotplug/hotplug.h"
#include "ops/modes/mode.h"
#include "ops/upgrade_failures/upgrade_failure.h"
#include "plan/load.h"
#include "probes/probe.h"
#include "scenario/scenario.h"
#include "target/target.h"

namespace migsoak::cli {

namespace fs = std::filesystem;

namespace {

using Rows = std::vector<std::pair<std::string, std::string>>;  // name, summary

// scenarios/ beside the build tree the executable lies in (build/release/migsoak).
Rows scenario_rows() {
  Rows rows;
  std::error_code error;
  const fs::path executable = fs::read_symlink("/proc/self/exe", error);
  for (fs::path dir = executable.parent_path(); dir.has_relative_path(); dir = dir.parent_path()) {
    for (const auto& entry : fs::directory_iterator(dir / "scenarios", error)) {
      if (entry.path().extension() != ".toml") continue;
      const auto scenario = plan::load_scenario(entry.path(), {});
      rows.emplace_back(entry.path().string(),
                        scenario ? base::printable(scenario->summary) : "unreadable: " + scenario.error().describe());
    }
    if (!rows.empty()) break;
  }
  std::sort(rows.begin(), rows.end());
  return rows;
}

template <typename Items>
Rows rows_of(const Items& items) {
  Rows rows;
  for (const auto& item : items) rows.emplace_back(item.name, item.summary);
  return rows;
}

// A driver that runs a mode in a way of its own says so behind the mode's own words.
Rows mode_rows() {
  Rows rows = rows_of(ops::modes());
  for (const ops::Mode& mode : ops::driver_modes()) {
    const auto known = std::find_if(rows.begin(), rows.end(), [&](const auto& row) { return row.first == mode.name; });
    const std::string words = fmt::format("with driver = \"{}\": {}", mode.driver, mode.summary);
    if (known == rows.end()) {
      rows.emplace_back(mode.name, words);
    } else {
      known->second += "; " + words;
    }
  }
  return rows;
}

// With the prefix of the ids, by which the report and the guest's disks name them.
Rows hotplug_rows() {
  Rows rows;
  for (const ops::HotplugKind& kind : ops::hotplug_kinds()) {
    std::string summary =
        fmt::format("{} ({}0, {}1 …, at most {})", kind.summary, kind.prefix, kind.prefix, kind.count_max);
    if (!kind.unplug_settles.empty()) summary += "; never unplugged at-once: " + kind.unplug_settles;
    rows.emplace_back(kind.name, std::move(summary));
  }
  return rows;
}

Rows rows_for(const std::string& what) {
  if (what == "probes") return rows_of(probes::probes());
  if (what == "modes") return mode_rows();
  if (what == "detectors") return rows_of(detect::detectors());
  if (what == "drivers") return rows_of(hypervisor::driver_kinds());
  if (what == "targets") return rows_of(target::target_kinds());
  if (what == "scenarios") return scenario_rows();
  if (what == "hotplug") return hotplug_rows();
  if (what == "faults") return rows_of(ops::upgrade_failures());
  Rows rows;
  if (what == "transports") {
    for (const std::string& name : ops::transport_names()) rows.emplace_back(name, "");
  } else if (what == "devices") {
    for (const std::string& name : hypervisor::device_type_names()) rows.emplace_back(name, "");
  }
  return rows;
}

}  // namespace

void add_list(CLI::App& app, Session& session) {
  struct Arguments {
    std::string what;
    bool json = false;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("list", "List what this build knows");
  command
      ->add_option("what", arguments->what,
                   "probes|modes|transports|devices|drivers|hotplug|faults|detectors|targets|scenarios")
      ->required()
      ->check(CLI::IsMember({"probes", "modes", "transports", "devices", "drivers", "hotplug", "faults", "detectors",
                             "targets", "scenarios"}));
  command->add_flag("--json", arguments->json, "A JSON array");
  command->callback([arguments, &session] {
    const Rows rows = rows_for(arguments->what);
    session.exit_status = kExitPass;
    if (arguments->json) {
      base::Json json = base::Json::array();
      for (const auto& [name, summary] : rows) {
        base::Json row = {{"name", name}};
        if (!summary.empty()) row["summary"] = summary;
        json.push_back(std::move(row));
      }
      print(json.dump(2, ' ', false, base::Json::error_handler_t::replace));
      return;
    }
    for (const auto& [name, summary] : rows) print(summary.empty() ? name : fmt::format("{:<22} {}", name, summary));
    if (rows.empty()) fmt::print(stderr, "no {} in this build\n", arguments->what);
  });
}

}  // namespace migsoak::cli
