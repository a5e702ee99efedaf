// Links: a collapse to the leak that foretold it.
#pragma once

#include <vector>

#include "record/finding.h"

namespace migsoak::detect {

// For findings of one lane. A crash, hang, failure or corruption near the iteration at which an earlier fd-leak of the
// process (or of a target that serves it) said that descriptors run out gets evidence.cause and says so in its title;
// the leak gets evidence.collapsed_at_iteration.
void link_collapses(std::vector<record::Finding>& findings);

}  // namespace migsoak::detect
