// Known defects of the builds of a run (record/known_defects.def), told where they can explain a finding.
#pragma once

#include <vector>

#include "record/finding.h"
#include "record/manifest.h"

namespace migsoak::detect {

// What a guest suffered (corruption, panic, silence) gets evidence.known: {"defect","sides","text"}, when a side's
// build has a defect that does this and the run was not shaped to avoid it. Severity, title and fingerprint stay.
void tell_known_defects(const record::Manifest& manifest, std::vector<record::Finding>& findings);

}  // namespace migsoak::detect
