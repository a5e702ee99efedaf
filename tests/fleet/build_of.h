// Builds by their version, whatever they are called in the fleet: tests that need one run wherever there is one.
#pragma once

#include <fmt/format.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/version.h"
#include "fleet/fleet.h"

namespace migsoak::fleet {

// `version` is "7.2" or "10.0.2". The fleet's newest such build, else the system's own.
inline std::optional<Build> build_of(std::string_view version, const Build& system = {}) {
  std::optional<Build> found;
  const auto all = builds();
  for (const Build& build : all ? *all : std::vector<Build>{}) {
    if (base::is_version_prefix(version, build.version)) found = build;  // oldest first
  }
  if (!found && base::is_version_prefix(version, system.version)) found = system;
  return found;
}

// Why a test that needs these is skipped; empty when they are all here.
inline std::string missing_build(const std::vector<std::string>& versions, const Build& system = {}) {
  for (const std::string& version : versions) {
    if (build_of(version, system)) continue;
    return fmt::format("no QEMU {} in the fleet{}", version,
                       system.version.empty() ? "" : fmt::format(", and the system's is {}", system.version));
  }
  return "";
}

}  // namespace migsoak::fleet
