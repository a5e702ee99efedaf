// Survey: every device asked for, through one pair of builds, in one direction or both.
#pragma once

#include <string>
#include <vector>

#include "base/deadline.h"
#include "base/json.h"
#include "base/result.h"
#include "compat/batch.h"
#include "compat/verdict.h"
#include "proc/containment.h"
#include "proc/reactor.h"

namespace migsoak::compat {

struct SurveyRequest {
  BuildPair builds;
  std::vector<DevicePair> devices;  // empty: every PCI device type that both builds know
  bool both_directions = false;
};

struct SurveyReport {
  std::string from, to;  // as the user wrote them
  std::string from_version, to_version;
  std::string machine;
  Placement placement = Placement::root;
  std::vector<DeviceReport> devices;
  std::vector<std::string> left_out;  // device types that one of the builds does not know
  double seconds = 0;
  std::vector<SurveyReport> reverse;  // none, or the other direction

  Compatibility worst() const;  // incompatible before unknown before the rest; over both directions
};

// What the survey runs in. `stop` (not owned): one request ends it.
struct SurveyHost {
  proc::Containment& containment;
  std::string run_dir;
  const proc::StopRequest* stop = nullptr;
};

// The PCI device types that both builds know, in the order of the first; the others' names in `left_out`.
std::vector<DevicePair> common_devices(const fleet::Build& from, const fleet::Build& to,
                                       std::vector<std::string>* left_out);

// kind bad_input: a device that neither build knows or can make as asked for; kind interrupted.
base::Result<SurveyReport> survey(const SurveyHost& host, const SurveyRequest& request, base::Deadline deadline);

base::Json to_json(const DeviceReport& device);
base::Json to_json(const SurveyReport& report);
std::string to_text(const SurveyReport& report);

}  // namespace migsoak::compat
