// Finding an executable the way execvp(3) does. Internal to hypervisor.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace migsoak::hypervisor {

// Absolute path with links resolved. Kind bad_input, one line, when there is none or it can't be run.
base::Result<std::string> find_executable(const std::string& name);

std::string_view executable_basename(std::string_view path);

}  // namespace migsoak::hypervisor
