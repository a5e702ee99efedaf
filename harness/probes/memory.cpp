// memory: smaps_rollup and maps. The kernel walks the page tables of the whole process for them, which makes this the
// dearest probe.
#include "probes/state.h"

namespace migsoak::probes {

void run_memory(Scene& scene, ProbeState& state, record::Observation& into) {
  for (const Subject& subject : scene.subjects) {
    if (subject.raised_early || has_vanished(state, subject)) continue;
    const auto memory = proc::read_memory(subject.pid);
    if (!memory) {
      note_vanished(scene, state, subject, memory.error().message, into);
      continue;
    }
    add_sample(into, subject, "rss_bytes", static_cast<double>(memory->rss_bytes));
    add_sample(into, subject, "pss_bytes", static_cast<double>(memory->pss_bytes));
    add_sample(into, subject, "heap_bytes", static_cast<double>(memory->heap_bytes));
    add_sample(into, subject, "anon_bytes", static_cast<double>(memory->anonymous_bytes));
    add_sample(into, subject, "mappings", static_cast<double>(memory->mappings));
  }
}

}  // namespace migsoak::probes
