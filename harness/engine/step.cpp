#include "engine/step.h"

namespace migsoak::engine {

namespace {

// What a step has decided and recorded, and no look at the processes may change.
bool is_final(StepResult result) {
  return result != StepResult::ok && result != StepResult::stays_on_source;
}

StepResult conclude_step(const StepOutcome& outcome, ProcessWatch& watch) {
  if (outcome.trouble && !outcome.trouble->explained_by_ends) return watch.explain(*outcome.trouble);
  if (is_final(outcome.result)) return outcome.result;
  if (const StepResult checked = watch.check(); checked != StepResult::ok) return checked;
  return outcome.trouble ? watch.explain(*outcome.trouble) : outcome.result;
}

}  // namespace

std::string to_string(StepResult result) {
  switch (result) {
    case StepResult::ok: return "ok";
    case StepResult::stays_on_source: return "stays-on-source";
    case StepResult::guest_lost: return "guest-lost";
    case StepResult::ended_as_declared: return "ended-as-declared";
    case StepResult::interrupted: return "interrupted";
    case StepResult::harness_failed: return "harness-failed";
  }
  return "?";
}

StepResult run_steps(const std::vector<Step>& steps, record::Journal& journal, ProcessWatch& watch,
                     StepListener* listener) {
  bool unchecked = false;  // a step was run since the last look
  for (const Step& step : steps) {
    if (std::exchange(unchecked, false)) {
      if (const StepResult checked = watch.check(); checked != StepResult::ok) return checked;
    }
    if (step.wanted && !step.wanted()) continue;
    if (step.phase != nullptr) journal.begin_phase(step.phase);
    if (listener != nullptr) listener->begins(step);
    const StepOutcome outcome = step.run();
    if (listener != nullptr) listener->ended(step);
    if (outcome.result == StepResult::ok && !outcome.trouble) {
      unchecked = true;
      continue;
    }
    if (const StepResult result = conclude_step(outcome, watch); result != StepResult::ok) return result;
  }
  // Of the last iteration nobody else would see it.
  return unchecked ? watch.check() : StepResult::ok;
}

}  // namespace migsoak::engine
