#include "scenario/scenario.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "base/text.h"
#include "detect/judge.h"
#include "hypervisor/device_type.h"
#include "hypervisor/driver.h"
#include "ops/hotplug/hotplug.h"
#include "scenario/check.h"
#include "scenario/document.h"
#include "scenario/table_reader.h"

namespace migsoak::scenario {

using base::ErrorKind;
using base::fail;
using base::Result;

void resolve_path(std::string& path, const std::string& directory) {
  if (path.find('/') == std::string::npos || path.front() == '/') return;
  path = (std::filesystem::path(directory) / path).lexically_normal().string();
}

namespace {

Result<void> read_guest(const TableReader& in, GuestScenario& guest) {
  in.read_list("machine", guest.machines);
  if (guest.machines.empty()) return in.error("machine", "needs at least one machine type");
  MIGSOAK_TRY(in.read_size("memory", guest.memory_bytes, 96ull << 20, 64ull << 30));
  MIGSOAK_TRY(in.read_integer("cpus", guest.cpus, 1, 64));
  MIGSOAK_TRY(in.read_choice("accel", guest.accel, {"auto", "kvm", "tcg"}));
  in.read("avoid_known_defects", guest.avoid_known_defects);
  MIGSOAK_TRY(in.read_choice("workload", guest.workload, {"idle", "dirty", "verify"}));
  MIGSOAK_TRY(in.read_size("ram_verify", guest.ram_verify_bytes, 0, guest.memory_bytes / 2));
  MIGSOAK_TRY(in.read_size("disk_verify", guest.disk_verify_bytes, 0, 32ull << 20));
  MIGSOAK_TRY(in.read_size("dirty_rate", guest.dirty_bytes_per_s, 0, 1ull << 30));
  MIGSOAK_TRY(in.read_size("disk_rate", guest.disk_bytes_per_s, 0, 1ull << 30));
  return in.read_integer("queue_depth", guest.queue_depth, 1, 64);
}

Result<SideScenario> read_side(const TableReader& in, const std::string& directory) {
  SideScenario side;
  side.name.clear();
  in.read("name", side.name);
  MIGSOAK_TRY(check_name(side.name), in.where(in.table().get("name"), "name"));
  MIGSOAK_TRY(in.read_choice("driver", side.driver, hypervisor::driver_names()));
  in.read("qemu", side.qemu);
  in.read("env", side.env);
  in.read("libvirt_env", side.libvirt_env);
  in.read("wrapper", side.wrapper);
  in.read("extra_args", side.extra_args);
  resolve_path(side.qemu, directory);
  if (!side.wrapper.empty()) resolve_path(side.wrapper.front(), directory);
  return side;
}

Result<DeviceScenario> read_device(const TableReader& in) {
  DeviceScenario device;
  in.read("id", device.id);
  MIGSOAK_TRY(check_name(device.id), in.where(in.table().get("id"), "id"));
  MIGSOAK_TRY(in.read_choice("type", device.type, device_types()));
  in.read("target", device.target);
  MIGSOAK_TRY(in.read_size("size", device.size_bytes, 1ull << 20, 1ull << 40));
  // qemu-storage-daemon does not wait for requests in flight when the switch-over stops its queues
  // (VHOST_USER_GET_VRING_BASE), and now and then one is lost for good: scenarios/README.md, "device.io".
  const bool vhost_user = hypervisor::endpoint_of(device.type).has_value();
  std::string io = vhost_user ? "settled" : "through";
  MIGSOAK_TRY(in.read_choice("io", io, {"through", "settled"}));
  device.io_through = io == "through";
  MIGSOAK_TRY(in.read_integer("reconnect_ms", device.reconnect_ms, 0, 60'000));
  if (device.reconnect_ms > 0 && !vhost_user) {
    return in.error("reconnect_ms", fmt::format("a {} has no target to reconnect to", device.type));
  }
  device.props = read_props(in.table()["props"].as_table());
  if (const toml::table* on = in.table()["on"].as_table()) {
    for (const auto& [side, props] : *on) device.on[std::string(side.str())] = read_props(props.as_table());
  }
  return device;
}

Result<void> read_run(const TableReader& in, Scenario& scenario) {
  std::string on_loss = "stop";
  MIGSOAK_TRY(in.read_choice("on_loss", on_loss, {"stop", "new-lineage"}));
  scenario.on_loss = on_loss == "stop" ? OnLoss::stop : OnLoss::new_lineage;
  in.read("raise_early", scenario.raise_early);
  in.read("config_space", scenario.config_space);
  in.read("device_tree", scenario.device_tree);
  MIGSOAK_TRY(in.read_integer("lineage", scenario.lineage_iterations, 0, 100'000'000));
  MIGSOAK_TRY(in.read_integer("failures_max", scenario.failures_max, 1, 1'000'000));
  MIGSOAK_TRY(in.read_integer("boot_deadline_s", scenario.deadline.boot_s, 1, 3600));
  MIGSOAK_TRY(in.read_integer("spawn_deadline_s", scenario.deadline.spawn_s, 1, 3600));
  MIGSOAK_TRY(in.read_integer("migrate_deadline_s", scenario.deadline.migrate_s, 1, 3600));
  MIGSOAK_TRY(in.read_integer("answer_deadline_s", scenario.deadline.answer_s, 1, 3600));
  return in.read_integer("quit_deadline_s", scenario.deadline.quit_s, 1, 3600);
}

Result<void> read_gate(const TableReader& in, record::GatePolicy& gate) {
  for (const auto& info : detect::detectors()) {
    std::string severity;
    in.read(info.name.c_str(), severity);
    if (severity.empty()) continue;
    const auto parsed = record::severity_from(severity);
    if (!parsed) return in.error(info.name.c_str(), parsed.error().message);
    gate.severity[info.name] = *parsed;
  }
  for (const auto& limit : detect::gate_limits()) {
    if (const auto value = in.table()[limit.name].value<double>()) gate.limits[limit.name] = *value;
  }
  in.read("report_benign", gate.report_benign);
  const std::vector<std::string> exclusions = detect::exclusion_names();
  for (const std::string& name : gate.report_benign) {
    if (std::find(exclusions.begin(), exclusions.end(), name) != exclusions.end()) continue;
    return in.error("report_benign", fmt::format("'{}' is nothing that is left out of account; known: {}",
                                                 base::printable(name), base::join(exclusions, ", ")));
  }
  const toml::array* waives = in.table()["waive"].as_array();
  for (std::size_t i = 0; waives != nullptr && i < waives->size(); ++i) {
    const TableReader item(*waives->get_as<toml::table>(i), "", "gate.waive");
    record::Waive waive;
    item.read("detector", waive.detector);
    item.read("device", waive.device);
    item.read("from", waive.from);
    item.read("to", waive.to);
    item.read("kind", waive.kind);
    item.read("process", waive.process);
    item.read("restart", waive.restart);
    if (!waive.restart.empty()) MIGSOAK_TRY(item.check_choice("restart", waive.restart, {"graceful"}));
    item.read("reason", waive.reason);
    if (waive.reason.empty()) return in.error("waive", "each [[gate.waive]] needs a reason = \"…\"");
    gate.waives.push_back(waive);
  }
  return {};
}

Result<void> read_top(const TableReader& in, Scenario& scenario) {
  in.read("name", scenario.name);
  in.read("summary", scenario.summary);
  MIGSOAK_TRY(check_name(scenario.name), in.where(in.table().get("name"), "name"));
  MIGSOAK_TRY(in.read_integer("iterations", scenario.iterations, 1, 100'000'000));
  return in.read_integer("seed", scenario.seed, 0, INT64_MAX);
}

template <typename Read>
Result<void> for_each_table(const toml::table& root, const char* key, const std::string& file, Read read) {
  const toml::array* array = root[key].as_array();
  for (std::size_t i = 0; array != nullptr && i < array->size(); ++i) {
    MIGSOAK_TRY(read(TableReader(*array->get_as<toml::table>(i), file, key)));
  }
  return {};
}

const toml::table& table_or_empty(const toml::table& root, const char* key) {
  static const toml::table empty;
  const toml::table* table = root[key].as_table();
  return table != nullptr ? *table : empty;
}

Result<Scenario> read_scenario(const toml::table& root, const std::string& file, const std::string& directory) {
  Scenario scenario;
  scenario.file = file;
  scenario.directory = directory;
  MIGSOAK_TRY(read_top(TableReader(root, file, ""), scenario));
  MIGSOAK_TRY(read_guest(TableReader(table_or_empty(root, "guest"), file, "guest"), scenario.guest));
  MIGSOAK_TRY(for_each_table(root, "side", file, [&](const TableReader& in) -> Result<void> {
    MIGSOAK_ASSIGN(SideScenario side, read_side(in, directory));
    scenario.sides.push_back(std::move(side));
    return {};
  }));
  MIGSOAK_TRY(for_each_table(root, "target", file, [&](const TableReader& in) -> Result<void> {
    MIGSOAK_ASSIGN(TargetScenario target, read_target(in, directory));
    scenario.targets.push_back(std::move(target));
    return {};
  }));
  MIGSOAK_TRY(for_each_table(root, "device", file, [&](const TableReader& in) -> Result<void> {
    MIGSOAK_ASSIGN(DeviceScenario device, read_device(in));
    scenario.devices.push_back(std::move(device));
    return {};
  }));
  MIGSOAK_TRY(read_migration(TableReader(table_or_empty(root, "migration"), file, "migration"), scenario));
  MIGSOAK_TRY(read_run(TableReader(table_or_empty(root, "run"), file, "run"), scenario));
  MIGSOAK_TRY(read_hotplug(TableReader(table_or_empty(root, "hotplug"), file, "hotplug"), scenario.hotplug));
  MIGSOAK_TRY(read_upgrade(TableReader(table_or_empty(root, "upgrade"), file, "upgrade"), scenario.upgrade));
  MIGSOAK_TRY(for_each_table(root, "restart", file, [&](const TableReader& in) { return read_restart(in, scenario); }));
  MIGSOAK_TRY(read_gate(TableReader(table_or_empty(root, "gate"), file, "gate"), scenario.gate));
  MIGSOAK_TRY(check_scenario(root, scenario));
  MIGSOAK_TRY(check_migration(root, scenario));
  MIGSOAK_TRY(check_upgrade(root, scenario));
  return scenario;
}

}  // namespace

std::string_view to_string(TargetShare share) {
  switch (share) {
    case TargetShare::one: return "one";
    case TargetShare::per_side: return "per-side";
    case TargetShare::per_vm: return "per-vm";
  }
  return "?";
}

bool HotplugScenario::uses(const std::string& kind) const {
  const auto same = [&kind](const auto& entry) { return entry.first == kind && entry.second > 0; };
  const auto named = [&kind](const HotplugStep& step) { return step.kind == kind; };
  const bool drawn = operations > 0 || sweep > 0;
  return (drawn && std::any_of(kinds.begin(), kinds.end(), same)) || std::any_of(steps.begin(), steps.end(), named);
}

int DeviceScenario::queues() const {
  const auto it = props.find("num-queues");
  return it != props.end() && it->second.is_number_integer() ? it->second.get<int>() : 1;
}

const SideScenario& Scenario::side(const std::string& wanted) const {
  for (const SideScenario& side : sides) {
    if (side.name == wanted) return side;
  }
  assert(false && "a plan names a side that the scenario does not have");
  return sides.front();
}

bool Scenario::uses_mode(const std::string& mode) const {
  return std::any_of(modes.begin(), modes.end(), [&mode](const auto& m) { return m.first == mode && m.second > 0; }) ||
         std::any_of(edges.begin(), edges.end(), [&mode](const EdgeScenario& e) { return e.mode == mode; });
}

const TargetScenario* Scenario::find_target(const std::string& wanted) const {
  for (const TargetScenario& target : targets) {
    if (target.name == wanted) return &target;
  }
  return nullptr;
}

const DeviceScenario* Scenario::find_device(const std::string& id) const {
  for (const DeviceScenario& device : devices) {
    if (device.id == id) return &device;
  }
  return nullptr;
}

std::vector<std::string> plugged_vhost_user_types(const Scenario& scenario) {
  std::vector<std::string> types;
  for (const ops::HotplugKind& kind : ops::hotplug_kinds()) {
    if (scenario.hotplug.uses(kind.name) && hypervisor::endpoint_of(kind.name)) types.push_back(kind.name);
  }
  return types;
}

int reconnect_ms_of_plugged(const Scenario& scenario) {
  for (const DeviceScenario& device : scenario.devices) {
    if (device.target == scenario.hotplug.target && device.reconnect_ms > 0) return device.reconnect_ms;
  }
  return 0;
}

Result<Document> read_document(const std::string& text, const std::string& file, const std::string& directory,
                               const std::vector<std::string>& sets) {
  toml::parse_result parsed = toml::parse(text, file);
  if (!parsed) {
    const toml::parse_error& error = parsed.error();
    return fail(ErrorKind::bad_input, fmt::format("{}:{}: not TOML: {}", file, error.source().begin.line,
                                                  base::printable(error.description())));
  }
  toml::table root = std::move(parsed).table();
  if (!root.contains("side")) root.insert("side", toml::array{toml::table{{"name", "a"}}});
  for (const std::string& set : sets) MIGSOAK_TRY(apply_set(root, set));
  MIGSOAK_TRY(check_keys(root, file));
  MIGSOAK_ASSIGN(Scenario scenario, read_scenario(root, file, directory));
  std::ostringstream resolved;
  resolved << toml::toml_formatter(root) << '\n';
  scenario.text = resolved.str();
  return Document{std::move(root), std::move(scenario)};
}

}  // namespace migsoak::scenario
