// Machine-type compat properties: what a machine type sets on devices so that they look as in an older release
// (`query-machines` with compat-props, QEMU 9.1 and later). Explains, decides nothing.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fleet/inspect.h"

namespace migsoak::compat {

using fleet::CompatProperty;

// nullopt: the build can't tell. `machine`: a -machine value.
std::optional<std::vector<CompatProperty>> machine_properties(const fleet::Host& host, const fleet::Build& build,
                                                              const std::string& machine, base::Deadline deadline);

// The lines worth showing for one driver: where both builds tell, those that differ; where one does, that one's.
std::vector<std::string> compare_machine_properties(const std::optional<std::vector<CompatProperty>>& from,
                                                    const std::optional<std::vector<CompatProperty>>& to,
                                                    std::string_view driver);

}  // namespace migsoak::compat
