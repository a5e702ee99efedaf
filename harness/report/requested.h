// Internal to report: what the recorded scenario asked for, as far as tables need it to say what never came about.
#pragma once

#include <string>
#include <vector>

#include "record/manifest.h"

namespace migsoak::report {

struct Requested {
  bool pairs = false;                 // migration.route = "pairs"
  std::vector<std::string> machines;  // guest.machine
  std::vector<std::string> kinds;     // hotplug.kinds of a weight above 0, and those of hotplug.step
  std::vector<std::string> timings;   // hotplug.timings, likewise; empty: the default
};

// Scenario text that can't be read gives nothing: the record may be damaged, its tables are still of use.
Requested requested_of(const record::Manifest& manifest);

}  // namespace migsoak::report
