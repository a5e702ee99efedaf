// The commands `inventory` and `pci_config`: what the guest sees of its devices.
#pragma once

#include <string>

#include "arguments.h"

namespace migsoak::agent {

std::string inventory_json(const Arguments& arguments);
std::string pci_config_json(const Arguments& arguments);

}  // namespace migsoak::agent
