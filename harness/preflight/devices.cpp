#include "preflight/devices.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/text.h"
#include "fleet/inspect.h"
#include "hypervisor/device_type.h"
#include "ops/hotplug/hotplug.h"
#include "plan/device_plan.h"

namespace migsoak::preflight {

using base::ErrorKind;
using base::Result;
using plan::boot_devices;
using plan::properties_of;
using scenario::DeviceScenario;
using scenario::Scenario;
using scenario::SideScenario;

namespace {

// All that a scenario's runs can put into a machine on this side, once each.
hypervisor::DeviceSet devices_on(const Scenario& scenario, const std::string& side) {
  hypervisor::DeviceSet all;
  for (const std::string& machine : scenario.guest.machines) {
    for (hypervisor::DeviceSpec& device : boot_devices(scenario, machine).value_or(hypervisor::DeviceSet{})) {
      const bool listed = std::any_of(all.begin(), all.end(), [&](const auto& other) { return other.id == device.id; });
      if (!listed) all.push_back(std::move(device));
    }
  }
  for (const ops::HotplugKind& kind : ops::hotplug_kinds()) {
    if (!scenario.hotplug.uses(kind.name)) continue;
    all.push_back({kind.prefix, kind.name, "", "", {}, kind.bus, "0x1e"});
  }
  for (hypervisor::DeviceSpec& device : all) {
    device.props = properties_of(scenario, device, side);
    device.socket_path = device.image_path = "none";
  }
  return all;
}

// The key under which the scenario has this device.
std::string key_of(const Scenario& scenario, const hypervisor::DeviceSpec& device) {
  if (scenario.find_device(device.id) != nullptr) return fmt::format("device.{}.type", base::printable(device.id, 40));
  return ops::find_hotplug_kind(device.type) != nullptr ? "hotplug.kinds." + device.type : "hotplug.kinds";
}

// The key that gives this device this property on this side.
std::string property_key(const Scenario& scenario, const hypervisor::DeviceSpec& device, const std::string& side,
                         const std::string& property) {
  const std::string shown = base::printable(property, 80);
  if (const DeviceScenario* cold = scenario.find_device(device.id)) {
    const auto on = cold->on.find(side);
    const bool own = on != cold->on.end() && on->second.contains(property);
    return fmt::format("device.{}.{}.{}", device.id, own ? "on." + side : "props", shown);
  }
  const auto on = scenario.hotplug.on.find(side);
  const auto kind = on == scenario.hotplug.on.end() ? decltype(on->second.begin()){} : on->second.find(device.type);
  const bool own = on != scenario.hotplug.on.end() && kind != on->second.end() && kind->second.contains(property);
  return fmt::format("hotplug.{}.{}.{}", own ? "on." + side : "props", device.type, shown);
}

// Asks one build, and asks nothing twice.
class BuildAnswers {
 public:
  BuildAnswers(const fleet::Host& host, const fleet::Build& build) : host_(host), build_(build) {}

  // Errors: interrupted. What can't be asked is taken to be there.
  Result<bool> has_driver(const std::string& driver) {
    if (!asked_) {
      asked_ = true;
      MIGSOAK_ASSIGN(const auto types, fleet::device_types(host_, build_, base::Deadline::in(kAnswerMax)));
      for (const fleet::DeviceType& type : types) drivers_.insert({type.name, type.alias});
    }
    return drivers_.empty() || drivers_.contains(driver);
  }

  // Empty when they can't be asked.
  Result<std::vector<std::string>> properties(const std::string& driver) {
    const auto known = properties_.find(driver);
    if (known != properties_.end()) return known->second;
    MIGSOAK_ASSIGN(properties_[driver],
                   fleet::device_properties(host_, build_, driver, base::Deadline::in(kAnswerMax)));
    return properties_[driver];
  }

 private:
  static constexpr std::chrono::seconds kAnswerMax{10};
  const fleet::Host& host_;
  const fleet::Build& build_;
  bool asked_ = false;
  std::set<std::string> drivers_;
  std::map<std::string, std::vector<std::string>> properties_;
};

Result<void> check_properties(const Scenario& scenario, const hypervisor::DeviceSpec& device, const std::string& side,
                              const std::string& build, const std::string& driver, BuildAnswers& answers) {
  if (device.props.empty()) return {};
  MIGSOAK_ASSIGN(const std::vector<std::string> known, answers.properties(driver));
  for (const auto& [name, value] : device.props) {
    // A list's or object's member is written behind a dot.
    const std::string top = name.substr(0, name.find('.'));
    const auto is = [&key = name, &top](const std::string& other) { return other == key || other == top; };
    if (known.empty() || std::any_of(known.begin(), known.end(), is)) continue;
    const std::string near = base::nearest_name(top, known);
    return base::fail(
        ErrorKind::bad_input,
        fmt::format("{}: {}: {} has no property '{}' for its {} ({}){}", scenario.file,
                    property_key(scenario, device, side, name), build, base::printable(name, 80), driver,
                    scenario.find_device(device.id) != nullptr ? "device " + device.id : "plugged " + device.type,
                    near.empty() ? fmt::format("; `-device {},help` lists them", driver)
                                 : fmt::format(", did you mean '{}'?", near)));
  }
  return {};
}

}  // namespace

Result<void> check_devices(const fleet::Host& host, const Scenario& scenario,
                           const std::map<std::string, fleet::Identity>& identities,
                           const std::map<std::string, fleet::Build>& builds) {
  std::map<std::string, BuildAnswers> by_build;
  for (const SideScenario& side : scenario.sides) {
    const fleet::Identity& identity = identities.at(side.qemu);
    BuildAnswers& answers = by_build.try_emplace(side.qemu, host, builds.at(side.qemu)).first->second;
    const std::string build =
        fmt::format("QEMU {} (side {}, {})", identity.version, side.name, base::printable(side.qemu, 200));
    for (const hypervisor::DeviceSpec& device : devices_on(scenario, side.name)) {
      MIGSOAK_ASSIGN(const hypervisor::DeviceParts parts, hypervisor::device_parts(device), scenario.file);
      const auto driver =
          base::json_get<std::string>(base::Json{{"driver", parts.frontend.front().second}}, "driver", "");
      MIGSOAK_ASSIGN(const bool there, answers.has_driver(driver));
      if (!there) {
        return base::fail(
            ErrorKind::bad_input,
            fmt::format("{}: {}: {} has no '{}', which {} {} needs; `-device help` lists what it has", scenario.file,
                        key_of(scenario, device), build, driver,
                        scenario.find_device(device.id) != nullptr ? "device " + device.id + " of type" : "plugging",
                        device.type));
      }
      MIGSOAK_TRY(check_properties(scenario, device, side.name, build, driver, answers));
    }
  }
  return {};
}

}  // namespace migsoak::preflight
