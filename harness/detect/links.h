// Links: a collapse to the leak that foretold it, a failed migration to the configuration or the
// devices that explain it.
#pragma once

#include <vector>

#include "record/finding.h"

namespace migsoak::detect {

// For findings of one lane. A crash, hang, failure or corruption near the iteration at which an earlier fd-leak of the
// process (or of a target that serves it) said that descriptors run out gets evidence.cause and says so in its title;
// the leak gets evidence.collapsed_at_iteration.
void link_collapses(std::vector<record::Finding>& findings);

// A migration-failure over configuration space or a virtqueue gets evidence.cause, the config-space-drift finding that
// tells which device, field and property it was, and evidence.device_id.
void link_config_space(std::vector<record::Finding>& findings);

// A migration-failure over a device gets evidence.cause, the qtree-drift finding that told before the load of the same
// iteration that the device stands on one side only, or is not the same on both.
void link_device_trees(std::vector<record::Finding>& findings);

}  // namespace migsoak::detect
