// One machine type for a guest that lives on several builds.
//
// A versioned type ("pc-q35-7.2") is a promise: the same guest-visible machine on every build that has it (QEMU
// docs/system/target-i386-desc: "-M pc-…-x.y"). So the newest one that all builds know is the one to migrate with.
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "base/text.h"
#include "base/version.h"
#include "fleet/fleet.h"

namespace migsoak::fleet {

using base::ErrorKind;
using base::Result;

namespace {

struct Versioned {
  std::string family;   // "pc-i440fx-"
  std::string version;  // "5.2"
};

std::optional<Versioned> versioned_type(const std::string& name) {
  const auto dash = name.rfind('-');
  if (dash == std::string::npos) return std::nullopt;
  const std::string version = name.substr(dash + 1);
  const bool numeric = version.find_first_not_of("0123456789.") == std::string::npos;
  if (!numeric || base::version_parts(version).size() < 2) return std::nullopt;
  return Versioned{name.substr(0, dash + 1), version};
}

// Versions of the family, oldest first.
std::vector<std::string> versions_of(const Build& build, const std::string& family) {
  std::vector<std::string> versions;
  for (const MachineType& type : build.machines) {
    const auto versioned = versioned_type(type.name);
    if (versioned && versioned->family == family) versions.push_back(versioned->version);
  }
  std::sort(versions.begin(), versions.end(), base::older_version);
  return versions;
}

std::string shown_build(const Build& build) {
  return build.name.empty() ? fmt::format("QEMU {}", build.version) : build.name;
}

// "qemu-5.2 has pc-q35-2.4 to pc-q35-5.2"
std::string shown_range(const Build& build, const std::string& family) {
  const auto versions = versions_of(build, family);
  if (versions.empty()) return fmt::format("{} has no {}*", shown_build(build), family);
  if (versions.size() == 1) return fmt::format("{} has only {}{}", shown_build(build), family, versions.front());
  return fmt::format("{} has {}{} to {}{}", shown_build(build), family, versions.front(), family, versions.back());
}

std::string shown_ranges(const std::vector<Build>& builds, const std::string& family) {
  std::vector<std::string> ranges;
  for (const Build& build : builds) {
    const std::string range = shown_range(build, family);
    if (std::find(ranges.begin(), ranges.end(), range) == ranges.end()) ranges.push_back(range);
  }
  return base::join(ranges, ", ");
}

Result<std::string> newest_common(const std::vector<Build>& builds, const std::string& family,
                                  const std::string& wanted) {
  std::vector<std::string> common = versions_of(builds.front(), family);
  for (const Build& build : builds) {
    std::erase_if(common, [&](const std::string& version) { return build.machine(family + version) == nullptr; });
  }
  if (common.empty()) {
    return base::fail(ErrorKind::bad_input, fmt::format("no versioned machine type for '{}' that all builds know: {}",
                                                        wanted, shown_ranges(builds, family)));
  }
  return family + common.back();
}

tl::unexpected<base::Error> lacking(const std::vector<Build>& builds, const Build& without, const std::string& type) {
  std::string message = fmt::format("{} has no machine type '{}'", shown_build(without), base::printable(type));
  if (const auto versioned = versioned_type(type); versioned && !versions_of(without, versioned->family).empty()) {
    message += ": " + shown_ranges(builds, versioned->family);
    if (const auto other = newest_common(builds, versioned->family, type))
      message += fmt::format("; the newest that all know is {}", *other);
    return base::fail(ErrorKind::bad_input, std::move(message));
  }
  std::vector<std::string> known;
  for (const MachineType& machine : without.machines) {
    known.push_back(machine.name);
    if (!machine.alias.empty()) known.push_back(machine.alias);
  }
  if (const std::string near = base::nearest_name(type, known); !near.empty())
    message += fmt::format(", did you mean '{}'?", near);
  return base::fail(ErrorKind::bad_input, std::move(message));
}

}  // namespace

Result<std::string> choose_machine(const std::vector<Build>& builds, const std::string& wanted) {
  if (builds.empty()) return base::fail(ErrorKind::bad_input, "no build to choose a machine type for");
  const auto comma = std::min(wanted.find(','), wanted.size());
  const std::string type = wanted.substr(0, comma);
  const std::string options = wanted.substr(comma);
  // An alias stands for another version on every build: the family is what its builds agree on.
  for (const Build& build : builds) {
    const MachineType* machine = build.machine(type);
    if (machine == nullptr || machine->name == type) continue;
    if (const auto versioned = versioned_type(machine->name)) {
      MIGSOAK_ASSIGN(std::string common, newest_common(builds, versioned->family, type));
      return common + options;
    }
  }
  for (const Build& build : builds) {
    if (build.machine(type) == nullptr) return lacking(builds, build, type);
  }
  return type + options;
}

}  // namespace migsoak::fleet
