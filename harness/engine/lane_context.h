// LaneContext: what all lineages of a lane share.
#pragma once

#include <string>

#include "engine/plan_types.h"
#include "engine/recorder.h"
#include "hypervisor/driver.h"
#include "proc/containment.h"
#include "proc/reactor.h"
#include "record/observation.h"

namespace migsoak::engine {

// References are borrowed.
struct LaneContext {
  const Scenario& scenario;
  const Preflight& preflight;
  proc::Reactor& reactor;
  proc::Containment& containment;
  hypervisor::Drivers& drivers;
  Recorder& recorder;
  const proc::StopRequest& stop;
  int lane = 0;
  int lanes = 1;
  std::string run_dir;  // the lane's own, private, short
  std::string log_dir;  // beside the database
  record::ProcessInstance harness;
  std::string memory_dir;  // for files of guest RAM; empty: no mode needs such
};

}  // namespace migsoak::engine
