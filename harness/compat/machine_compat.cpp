#include "compat/machine_compat.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "base/text.h"
#include "base/version.h"
#include "compat/device_catalog.h"
#include "compat/vmstate.h"

namespace migsoak::compat {

namespace {

// Does a property set on `type` reach the driver? By name, as QOM's ancestry can't be asked for cheaply: the type
// itself, the device behind a virtio proxy, and the parents that all PCI and virtio devices have.
bool reaches(const std::string& type, std::string_view driver) {
  const auto types = vmstate_types(driver);
  if (std::find(types.begin(), types.end(), type) != types.end()) return true;
  if (type == "pci-device") return true;
  if (!is_virtio(driver)) return false;
  const std::string_view stem = driver.substr(0, driver.find("-pci"));
  return type == "virtio-pci" || type == "virtio-device" || type == fmt::format("{}-pci-base", stem) ||
         type == fmt::format("{}-base", stem);
}

// compat-props came with 9.1; asking an older build costs a start. A version that can't be read is asked.
bool can_tell(const std::string& version) {
  return base::version_parts(version).size() < 2 || !base::older_version(version, "9.1");
}

std::set<std::string> lines_for(const std::vector<CompatProperty>& properties, std::string_view driver) {
  std::set<std::string> lines;
  for (const CompatProperty& one : properties) {
    if (reaches(one.type, driver)) lines.insert(fmt::format("{}.{}={}", one.type, one.property, one.value));
  }
  return lines;
}

}  // namespace

std::optional<std::vector<CompatProperty>> machine_properties(const fleet::Host& host, const fleet::Build& build,
                                                              const std::string& machine, base::Deadline deadline) {
  if (!can_tell(build.version)) return std::nullopt;
  auto properties = fleet::compat_properties(host, build, machine, deadline);
  if (!properties) return std::nullopt;
  return std::move(*properties);
}

std::vector<std::string> compare_machine_properties(const std::optional<std::vector<CompatProperty>>& from,
                                                    const std::optional<std::vector<CompatProperty>>& to,
                                                    std::string_view driver) {
  std::vector<std::string> lines;
  const auto a = from ? lines_for(*from, driver) : std::set<std::string>{};
  const auto b = to ? lines_for(*to, driver) : std::set<std::string>{};
  const auto add = [&](const std::set<std::string>& own, const std::set<std::string>& other, const char* text) {
    for (const std::string& line : own) {
      if (other.count(line) == 0) lines.push_back(fmt::format("{} {}", line, text));
    }
  };
  const bool both = from && to;
  add(a, b, both ? "on the source only" : "on the source (the destination's build can't tell)");
  add(b, a, both ? "on the destination only" : "on the destination (the source's build can't tell)");
  return lines;
}

}  // namespace migsoak::compat
