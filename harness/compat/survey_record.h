// A survey as a record, so that what reads a run's database reads it, too: an iteration is one pair of devices, its
// migration the loads that were tried, and the whole answer a document.
#pragma once

#include <string>
#include <vector>

#include "compat/survey.h"
#include "record/manifest.h"
#include "record/observation.h"

namespace migsoak::compat {

// Kind of those documents; their content is what --json says of the device.
inline constexpr const char* kDeviceDocument = "compat-device";
inline constexpr const char* kSurveyMode = "compat";  // of the iterations' plans

// `command`: what repeats the survey; a record of it has no scenario that could be replayed.
record::Manifest manifest_of(const SurveyReport& report, const std::string& command, long long now_unix_ms);

// In the order of the report, the other direction's after it. An incompatible pair is a failed migration, one that
// could not be tried is unknown: today's detectors come to the survey's own verdict.
std::vector<record::Observation> observations_of(const SurveyReport& report, long long now_unix_ms);

}  // namespace migsoak::compat
