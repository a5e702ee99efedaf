// The name of a running executable. Internal to hypervisor.
#pragma once

#include <string_view>

namespace migsoak::hypervisor {

std::string_view executable_basename(std::string_view path);

}  // namespace migsoak::hypervisor
