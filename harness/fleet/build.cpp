// What a Build can be asked, and its form in entry.json.
#include <algorithm>

#include "base/text.h"
#include "base/version.h"
#include "fleet/fleet.h"
#include "proc/program.h"

namespace migsoak::fleet {

using base::Json;

namespace {

std::vector<std::string> strings_of(const Json& json, const char* key) {
  std::vector<std::string> strings;
  for (const Json& item : base::json_get(json, key, Json::array())) {
    if (item.is_string()) strings.push_back(item.get<std::string>());
  }
  return strings;
}

}  // namespace

bool Build::at_least(int major, int minor) const {
  return base::version_parts(version) >= std::vector<int>{major, minor};
}

bool Build::has_mode(std::string_view mode) const {
  return std::find(modes.begin(), modes.end(), mode) != modes.end();
}

bool Build::has_device(std::string_view device) const {
  if (device.empty()) return false;
  return std::any_of(devices.begin(), devices.end(),
                     [&](const DeviceType& type) { return type.name == device || type.alias == device; });
}

const MachineType* Build::machine(std::string_view name_or_alias) const {
  if (name_or_alias.empty()) return nullptr;
  const auto found = std::find_if(machines.begin(), machines.end(), [&](const MachineType& type) {
    return type.name == name_or_alias || type.alias == name_or_alias;
  });
  return found == machines.end() ? nullptr : &*found;
}

std::string Build::program(std::string_view program_name) const {
  const std::string path = binary.substr(0, binary.rfind('/') + 1) + std::string(program_name);
  return proc::find_program(path).value_or("");
}

Json to_json(const Build& build) {
  Json machines = Json::array();
  for (const MachineType& type : build.machines) {
    Json row = {{"name", type.name}};
    if (!type.alias.empty()) row["alias"] = type.alias;
    if (type.deprecated) row["deprecated"] = true;
    if (type.is_default) row["default"] = true;
    machines.push_back(std::move(row));
  }
  Json devices = Json::array();
  for (const DeviceType& type : build.devices) {
    Json row = {{"name", type.name}};
    if (!type.bus.empty()) row["bus"] = type.bus;
    if (!type.alias.empty()) row["alias"] = type.alias;
    devices.push_back(std::move(row));
  }
  return {{"name", build.name},
          {"id", build.id},
          {"suite", build.suite},
          {"package_version", build.package_version},
          {"version", build.version},
          {"binary", build.binary},
          {"args", build.args},
          {"env", build.env},
          {"machines", std::move(machines)},
          {"devices", std::move(devices)},
          {"modes", build.modes},
          {"capabilities", build.capabilities},
          {"stamp", build.stamp}};
}

base::Result<Build> build_from_json(const Json& json) {
  Build build;
  build.name = base::json_get(json, "name", std::string());
  build.id = base::json_get(json, "id", std::string());
  build.suite = base::json_get(json, "suite", std::string());
  build.package_version = base::json_get(json, "package_version", std::string());
  build.version = base::json_get(json, "version", std::string());
  build.binary = base::json_get(json, "binary", std::string());
  build.stamp = base::json_get(json, "stamp", std::string());
  build.args = strings_of(json, "args");
  build.modes = strings_of(json, "modes");
  build.capabilities = strings_of(json, "capabilities");
  const Json env = base::json_get(json, "env", Json::object());
  for (const auto& [name, value] : env.items()) {
    if (value.is_string()) build.env[name] = value.get<std::string>();
  }
  for (const Json& row : base::json_get(json, "machines", Json::array())) {
    build.machines.push_back({base::json_get(row, "name", std::string()), base::json_get(row, "alias", std::string()),
                              base::json_get(row, "deprecated", false), base::json_get(row, "default", false)});
  }
  for (const Json& row : base::json_get(json, "devices", Json::array())) {
    build.devices.push_back({base::json_get(row, "name", std::string()), base::json_get(row, "bus", std::string()),
                             base::json_get(row, "alias", std::string())});
  }
  if (build.version.empty() || build.binary.empty() || build.machines.empty())
    return base::fail(base::ErrorKind::environment, "it lacks the version, the binary or the machine types");
  return build;
}

}  // namespace migsoak::fleet
