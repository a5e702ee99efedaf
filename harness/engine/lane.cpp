#include "engine/lane.h"

#include <fmt/format.h>

#include <filesystem>
#include <utility>

#include "engine/iteration.h"
#include "engine/planner.h"

namespace migsoak::engine {

namespace {

class LaneLoop {
 public:
  LaneLoop(const LaneContext& context, const LaneOptions& options, const store::Artifacts& artifacts,
           Progress& progress)
      : context_(context), options_(options), artifacts_(artifacts), progress_(progress), planner_(context.scenario) {}

  LaneResult run() {
    for (std::int64_t index = options_.first; index < options_.end && go_on(); index = after(index)) {
      if (!iterate(index)) break;
    }
    // Whatever still runs is ended here, before the caller takes the directory away.
    lineage_.reset();
    return std::move(result_);
  }

 private:
  bool go_on() {
    if (context_.stop.level() >= 1) {
      result_.interrupted = true;
      return false;
    }
    if (options_.until.passed()) {
      result_.stopped_because = "stopped: the time given by --duration is over";
      return false;
    }
    return true;
  }

  bool iterate(std::int64_t index) {
    const auto began = base::Clock::now();
    record::Observation observation;
    observation.iteration = index;
    observation.lane = context_.lane;
    observation.started_unix_ms = base::unix_time_ms();
    observation.plan = planner_.plan(index);
    if (planner_.begins_lineage(index)) lineage_.reset();
    if (lineage_) adapt(observation.plan);
    const bool fresh = !lineage_;
    const int lineage_number = fresh ? context_.recorder.next_lineage() : lineage_->number();
    observation.lineage = lineage_number;
    if (const auto row = context_.recorder.begin(observation); !row) return harness_failed(row.error());
    if (fresh) {
      // A lineage's logs go with its first iteration, so that they are pruned by age and kept when there is a finding.
      LaneContext context = context_;
      const auto logs = artifacts_.path_for(index, "");
      if (!logs) return harness_failed(logs.error());
      context.log_dir = std::filesystem::path(*logs).parent_path();
      lineage_first_ = index;
      (void)artifacts_.prune();
      const std::string machine = context_.preflight.machine_for(observation.plan);
      lineage_ = std::make_unique<Lineage>(std::move(context), lineage_number, machine,
                                           planner_.devices_before(planner_.lineage_begin(index)));
      observation.processes_born.push_back(context_.harness);
    }
    IterationRunner runner(*lineage_, observation, side_after(observation.plan));
    const StepResult result = runner.run(/*boots=*/fresh);
    observation.duration_ms = base::milliseconds_between(began, base::Clock::now());
    observation.samples.push_back({"host", 0, "iteration_ms", observation.duration_ms});
    if (result == StepResult::interrupted) {
      result_.interrupted = true;
      return false;
    }
    return conclude(observation);
  }

  bool conclude(const record::Observation& observation) {
    using record::IterationStatus;
    if (observation.status == IterationStatus::lost || observation.status == IterationStatus::unknown) lineage_.reset();
    const auto fresh_findings = context_.recorder.finish(observation);
    if (!fresh_findings) return harness_failed(fresh_findings.error());
    progress_.finished(observation, *fresh_findings);
    if (!fresh_findings->empty()) (void)artifacts_.keep(lineage_first_);
    if (observation.status == IterationStatus::unknown) {
      std::string why = "the harness or its environment failed";
      for (const record::Event& event : observation.events) {
        if (event.kind == record::event_kind::kHarnessError) why = event.text;
      }
      result_.harness_error = why;
      return false;
    }
    // By plan the guest's life ends here.
    const bool by_plan = observation.plan.expect == record::kExpectLost || ended_by_declared_restart(observation);
    if (by_plan && observation.status == IterationStatus::lost) return true;
    // A pair is booted on its first side only: what is left of it after a loss would be another pair.
    const bool lost = observation.status == IterationStatus::lost;
    if (lost && context_.scenario.on_loss == OnLoss::new_lineage && context_.scenario.route == Route::pairs) {
      return give_lineage_up();
    }
    if (lost && context_.scenario.on_loss == OnLoss::stop) {
      result_.stopped_because =
          fmt::format("stopped: the guest or a target was lost in iteration {}", observation.iteration);
      return false;
    }
    const bool failed = observation.status == IterationStatus::failed;
    if (failed && observation.plan.expect == record::kExpectRefused) return true;  // says nothing of what comes next
    failures_in_a_row_ = failed ? failures_in_a_row_ + 1 : 0;
    if (failures_in_a_row_ >= context_.scenario.failures_max) {
      // The guest survives a failed migration, and one failure says little; this many say that there is no way.
      if (context_.scenario.lineage_iterations > 0) return give_lineage_up();
      result_.stopped_because = fmt::format("stopped: {} migrations in a row failed", failures_in_a_row_);
      return false;
    }
    if (options_.stop_on_finding && !fresh_findings->empty()) {
      result_.stopped_because = fmt::format("stopped: --stop-on-finding, iteration {}", observation.iteration);
      return false;
    }
    return true;
  }

  // The rest of this lineage's iterations is left out; the run goes on with the next one.
  bool give_lineage_up() {
    failures_in_a_row_ = 0;
    lineage_.reset();
    skip_rest_ = true;
    return true;
  }

  std::int64_t after(std::int64_t index) {
    if (!std::exchange(skip_rest_, false)) return index + 1;
    return planner_.lineage_begin(index) + context_.scenario.lineage_iterations;
  }

  bool harness_failed(const base::Error& error) {
    lineage_.reset();
    result_.harness_error = error.describe();
    return false;
  }

  // After a failed migration the guest is not where the plan expects it. The iteration then goes the other way round;
  // what was really run is what goes on record.
  void adapt(record::Plan& plan) const {
    const std::string guest_side = lineage_->current()->machine->spec().side;
    if (guest_side == plan.source_side) return;
    if (guest_side == plan.destination_side) plan.destination_side = plan.source_side;
    plan.source_side = guest_side;
    // What is declared of the edge that is taken; one that no mode of the plan takes is tried all the same.
    const auto expect = expected_of(context_.scenario, plan.mode, plan.source_side, plan.destination_side);
    plan.expect = expect.value_or(record::kExpectCompletes);
  }

  // Where the next destination may be raised early; empty when nothing follows.
  std::string side_after(const record::Plan& now) {
    const std::int64_t index = now.iteration;
    const bool follows = index + 1 < options_.end && context_.stop.level() == 0 && !options_.until.passed();
    if (!follows || !context_.scenario.raise_early) return "";
    const record::Plan next = planner_.plan(index + 1);
    // With operations to come, what the destination will need is not there yet; and one that is meant to fail comes
    // first.
    const bool alone = next.operations.empty() && next.upgrade_failure.empty();
    // Nor may it wait beside a guest whose RAM it is to share, or for a source that is another process by then.
    const auto is_apart = [](const record::Plan& plan) {
      const ops::ModeNeeds& needs = ops::find_mode(plan.mode)->needs;
      return needs.succession == ops::Succession::beside && !needs.same_ram;
    };
    const bool can_wait = alone && is_apart(next) && is_apart(now);
    return planner_.begins_lineage(index + 1) || !can_wait ? "" : next.destination_side;
  }

  const LaneContext& context_;
  const LaneOptions& options_;
  const store::Artifacts& artifacts_;
  Progress& progress_;
  Planner planner_;
  std::int64_t failures_in_a_row_ = 0;
  bool skip_rest_ = false;
  std::int64_t lineage_first_ = 0;
  std::unique_ptr<Lineage> lineage_;
  LaneResult result_;
};

}  // namespace

LaneResult run_lane(const LaneContext& context, const LaneOptions& options, const store::Artifacts& artifacts,
                    Progress& progress) {
  return LaneLoop(context, options, artifacts, progress).run();
}

}  // namespace migsoak::engine
