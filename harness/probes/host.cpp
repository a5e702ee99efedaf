// host: what the whole machine has open, beyond the processes we know.
#include "probes/state.h"

namespace migsoak::probes {

void run_host(Scene& scene, ProbeState&, record::Observation& into) {
  const auto file_nr = proc::read_file_nr();
  if (!file_nr) {
    record_event(scene, record::event_kind::kHarnessError, "harness", 0, "probe host: " + file_nr.error().describe(),
                 {}, into);
    return;
  }
  into.samples.push_back({"host", 0, "file_nr", static_cast<double>(*file_nr)});
}

}  // namespace migsoak::probes
