// The steps of an iteration: what came of one, and the loop that runs a table of them.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "record/journal.h"

namespace migsoak::engine {

enum class StepResult {
  ok,
  stays_on_source,    // the migration failed, or was not begun; the guest goes on where it was
  guest_lost,         // the guest or a target is gone or stuck; recorded
  ended_as_declared,  // the guest's life ended as the scenario says
  interrupted,        // by the user
  harness_failed,     // the harness or its environment; recorded
};
std::string to_string(StepResult result);

// A step could not go on, and doesn't know why: the loop finds out who is to blame.
struct Trouble {
  std::string subject;  // who did not answer
  std::int64_t process_id = 0;
  base::Error error;
  std::string waiting_for;
  // A process whose end was noted right after the step explains it. False: blame as it is.
  bool explained_by_ends = true;
  // The step's result when the process named here turns out to have ended and the guest can go on without it.
  std::optional<StepResult> if_ended = std::nullopt;
};

struct StepOutcome {
  StepOutcome(StepResult what) : result(what) {}           // NOLINT(google-explicit-constructor)
  StepOutcome(Trouble what) : trouble(std::move(what)) {}  // NOLINT(google-explicit-constructor)
  StepResult result = StepResult::ok;
  std::optional<Trouble> trouble;
};

struct Step {
  const char* name;
  const char* phase;             // of what is recorded from then on; null: stays as it is
  std::function<bool()> wanted;  // empty: always
  std::function<StepOutcome()> run;
};

// Looks after the processes that an iteration needs.
class ProcessWatch {
 public:
  virtual ~ProcessWatch() = default;
  // Records ends that nobody asked for, and forgets the processes. Not ok: without them it can't go on.
  virtual StepResult check() = 0;
  // Records who is to blame for the trouble of a step. ok: nobody, go on.
  virtual StepResult explain(const Trouble& trouble) = 0;
};

// Told of each step that is run.
class StepListener {
 public:
  virtual ~StepListener() = default;
  virtual void begins(const Step&) {}
  virtual void ended(const Step&) {}  // and nobody has looked at the processes since
};

// Runs the wanted steps one after the other until one is not ok. The processes are checked after each that did not end
// the iteration by itself: here and nowhere else.
// `listener` may be null.
StepResult run_steps(const std::vector<Step>& steps, record::Journal& journal, ProcessWatch& watch,
                     StepListener* listener = nullptr);

}  // namespace migsoak::engine
