// threads: num_threads of /proc/PID/stat, read once for all probes.
#include "probes/state.h"

namespace migsoak::probes {

void run_threads(Scene& scene, ProbeState& state, record::Observation& into) {
  for (const Subject& subject : scene.subjects) {
    const auto stat = state.impl().stats.find(subject.process_id);
    if (stat == state.impl().stats.end() || has_vanished(state, subject)) continue;
    add_sample(into, subject, "threads", stat->second.thread_count);
  }
}

}  // namespace migsoak::probes
