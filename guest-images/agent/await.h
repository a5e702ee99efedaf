// The command `await`: answers as soon as the guest has handled a plug or an unplug.
#pragma once

#include <string>

#include "arguments.h"

namespace migsoak::agent {

// Blocks until the state holds or the time is up; may run beside other commands.
std::string await_json(const Arguments& arguments);

}  // namespace migsoak::agent
