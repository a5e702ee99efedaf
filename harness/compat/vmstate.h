// vmstate: what two builds say of their migration streams (fleet/vmstate_dump.h), compared for one device type. It
// explains, it decides nothing: a field that one build lacks may be optional, or made up for.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace migsoak::compat {

// The types whose description counts for a driver: itself, and for a virtio device the one behind the PCI proxy.
std::vector<std::string> vmstate_types(std::string_view driver);

// One line a difference, at most kVmstateLines and then a line that counts the rest. Versions, fields with size and
// version, subsections, all the way down.
inline constexpr std::size_t kVmstateLines = 20;
std::vector<std::string> compare_vmstate(const base::Json& from, const base::Json& to, std::string_view driver);

}  // namespace migsoak::compat
