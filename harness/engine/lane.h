// Lane: takes stretches of iterations from the run's queue and lives them through, one guest after the other, on one
// thread.
#pragma once

#include "engine/lineage.h"
#include "engine/progress.h"
#include "engine/stop_token.h"
#include "engine/work_queue.h"
#include "store/artifacts.h"

namespace migsoak::engine {

struct LaneOptions {
  bool stop_on_finding = false;
  base::Deadline until;  // --duration
};

// Until there is nothing left to take, or `stop` is asked: by this lane, by another, by the user (context.stop).
void run_lane(const LaneContext& context, const LaneOptions& options, WorkQueue& work, StopToken& stop,
              const store::Artifacts& artifacts, Progress& progress);

}  // namespace migsoak::engine
