#include "engine/stop_policy.h"

#include <fmt/format.h>

#include "record/expected_trouble.h"
#include "record/run_end.h"

namespace migsoak::engine {

StopPolicy::Decision StopPolicy::after(const record::Observation& observation) {
  using record::IterationStatus;
  using record::end_reason::kStopped;
  if (observation.status == IterationStatus::unknown) {
    std::string why = "the harness or its environment failed";
    for (const record::Event& event : observation.events) {
      if (event.kind == record::event_kind::kHarnessError) why = event.text;
    }
    return {Next::harness_failed, why};
  }
  if (observation.status == IterationStatus::lost) {
    failures_in_a_row_ = 0;
    // By plan the guest's life ends here.
    if (record::declares(observation.plan, record::outcome::kLost) || record::ended_by_plan(observation)) return {};
    const std::string why =
        fmt::format("the guest, a target or a daemon was lost in iteration {}", observation.iteration);
    if (scenario_.on_loss == OnLoss::stop) return {Next::stop, kStopped + why};
    // A pair is booted on its first side only: what is left of it after a loss would be another pair.
    if (scenario_.route == Route::pairs) return {Next::leave_out_rest, why};
    return {};
  }
  const bool failed = observation.status == IterationStatus::failed;
  if (failed && record::declares(observation.plan, record::outcome::kRefused))
    return {};  // says nothing of what comes next
  failures_in_a_row_ = failed ? failures_in_a_row_ + 1 : 0;
  if (failures_in_a_row_ < scenario_.failures_max) return {};
  // The guest survives a failed migration, and one failure says little; this many say that there is no way.
  const std::string why = fmt::format("{} migrations in a row failed", failures_in_a_row_);
  if (scenario_.lineage_iterations > 0) return {Next::leave_out_rest, why};
  return {Next::stop, kStopped + why};
}

}  // namespace migsoak::engine
