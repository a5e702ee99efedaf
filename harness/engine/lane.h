// Lane: runs a range of iterations, one lineage after the other, on one thread.
#pragma once

#include "engine/lineage.h"
#include "engine/progress.h"
#include "store/artifacts.h"

namespace migsoak::engine {

struct LaneOptions {
  std::int64_t first = 0, end = 0;  // [first, end)
  bool stop_on_finding = false;
  base::Deadline until;  // --duration
};
struct LaneResult {
  bool interrupted = false;
  std::string stopped_because;  // "stopped: …": on_loss, --stop-on-finding
  std::string harness_error;    // the harness or its environment failed
};

LaneResult run_lane(const LaneContext& context, const LaneOptions& options, const store::Artifacts& artifacts,
                    Progress& progress);

}  // namespace migsoak::engine
