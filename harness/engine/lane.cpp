#include "engine/lane.h"

#include <fmt/format.h>

#include <filesystem>
#include <utility>

#include "engine/iteration.h"
#include "engine/stop_policy.h"
#include "plan/planner.h"
#include "record/journal.h"
#include "record/run_end.h"

namespace migsoak::engine {

namespace {

class LaneLoop {
 public:
  LaneLoop(const LaneContext& context, const LaneOptions& options, WorkQueue& work, StopToken& stop,
           const store::Artifacts& artifacts, Progress& progress)
      : context_(context),
        options_(options),
        work_(work),
        stop_(stop),
        artifacts_(artifacts),
        progress_(progress),
        planner_(context.scenario),
        policy_(context.scenario) {}

  void run() {
    while (const std::optional<Stretch> stretch = work_.take()) {
      end_ = stretch->end;
      policy_.begin_lineage();
      std::int64_t index = stretch->begin;
      while (index < end_ && go_on() && iterate(index)) ++index;
      // Whatever still runs is ended here, before the caller takes the directory away.
      lineage_.reset();
      if (stop_.asked()) return;
    }
  }

 private:
  bool go_on() {
    if (context_.stop.level() >= 1) stop_.interrupt();
    if (options_.until.passed()) stop_.stop(record::end_reason::kDurationOver);
    return !stop_.asked();
  }

  // False: the stretch is over, or the run is.
  bool iterate(std::int64_t index) {
    const auto began = base::Clock::now();
    record::Observation observation;
    observation.iteration = index;
    observation.lane = context_.lane;
    observation.started_unix_ms = base::unix_time_ms();
    const bool fresh = !lineage_;
    hypervisor::DeviceSet devices;
    if (fresh) devices = planner_.devices_before(index);
    observation.plan = planner_.plan(index);
    adapt(observation.plan, fresh ? boot_side(observation.plan) : lineage_->current()->machine->spec().side);
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
      lineage_ = std::make_unique<Lineage>(std::move(context), lineage_number, machine, std::move(devices));
      observation.processes_born.push_back(context_.harness);
    }
    IterationRunner runner(*lineage_, observation, began, side_after(observation.plan));
    const StepResult result = runner.run(/*boots=*/fresh);
    observation.duration_ms = base::milliseconds_between(began, base::Clock::now());
    observation.samples.push_back({"host", 0, "iteration_ms", observation.duration_ms});
    if (result == StepResult::interrupted) {
      stop_.interrupt();
      return false;
    }
    return conclude(observation);
  }

  bool conclude(record::Observation& observation) {
    using record::IterationStatus;
    using Next = StopPolicy::Next;
    if (observation.status == IterationStatus::lost || observation.status == IterationStatus::unknown) lineage_.reset();
    const StopPolicy::Decision decision = policy_.after(observation);
    const Stretch rest = {observation.iteration + 1, end_};
    const bool leaves_out = decision.next == Next::leave_out_rest && rest.size() > 0;
    if (leaves_out) note_left_out(observation, decision.why, rest.size());
    const auto fresh_findings = context_.recorder.finish(observation);
    if (!fresh_findings) return harness_failed(fresh_findings.error());
    work_.finished(observation.iteration);
    if (leaves_out) work_.left_out(rest);
    progress_.finished(observation, *fresh_findings);
    if (!fresh_findings->empty()) (void)artifacts_.keep(lineage_first_);
    if (decision.next == Next::harness_failed) stop_.harness_failed(decision.why);
    if (decision.next == Next::stop) stop_.stop(decision.why);
    if (options_.stop_on_finding && !fresh_findings->empty()) {
      stop_.stop(fmt::format("{}--stop-on-finding, iteration {}", record::end_reason::kStopped, observation.iteration));
    }
    return decision.next == Next::go_on;
  }

  void note_left_out(record::Observation& observation, const std::string& why, std::int64_t count) const {
    record::Journal journal(observation);
    journal.event(record::event_kind::kLineageGivenUp, "guest")
        .text(fmt::format("the rest of lineage {} is left out, {} iterations: {}", observation.lineage, count, why))
        .detail({{"why", why}, {"left_out", count}})
        .since(observation.phase, observation.duration_ms);
  }

  bool harness_failed(const base::Error& error) {
    lineage_.reset();
    stop_.harness_failed(error.describe());
    return false;
  }

  // Where a new guest boots: where the plan has the guest of this iteration. A pair is booted on its first side, also
  // for what an earlier session left of it: otherwise it would be another pair.
  std::string boot_side(const record::Plan& plan) const {
    const std::int64_t begin = planner_.lineage_begin(plan.iteration);
    if (context_.scenario.route != Route::pairs || plan.iteration == begin) return plan.source_side;
    return plan::plan_iteration(context_.scenario, begin).source_side;
  }

  // After a failed migration the guest is not where the plan expects it. The iteration then goes the other way round;
  // what was really run is what goes on record.
  void adapt(record::Plan& plan, const std::string& guest_side) const {
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
    const bool stops = context_.stop.level() > 0 || options_.until.passed() || stop_.asked();
    const bool follows = index + 1 < end_ && !stops;
    if (!follows || !context_.scenario.raise_early) return "";
    const record::Plan next = planner_.plan(index + 1);
    // With operations to come, what the destination will need is not there yet; and one that is meant to fail comes
    // first.
    const bool alone = next.operations.empty() && next.upgrade_failure.empty();
    // Nor may it wait beside a guest whose RAM it is to share, or for a source that is another process by then.
    const auto is_apart = [this](const record::Plan& plan) {
      const ops::ModeNeeds& needs = ops::find_mode(plan.mode, context_.scenario.driver())->needs;
      return needs.process_order == ops::ProcessOrder::beside && !needs.same_ram;
    };
    const bool can_wait = alone && is_apart(next) && is_apart(now);
    return can_wait ? next.destination_side : "";
  }

  const LaneContext& context_;
  const LaneOptions& options_;
  WorkQueue& work_;
  StopToken& stop_;
  const store::Artifacts& artifacts_;
  Progress& progress_;
  plan::Planner planner_;
  StopPolicy policy_;
  std::int64_t end_ = 0;  // of the stretch
  std::int64_t lineage_first_ = 0;
  std::unique_ptr<Lineage> lineage_;
};

}  // namespace

void run_lane(const LaneContext& context, const LaneOptions& options, WorkQueue& work, StopToken& stop,
              const store::Artifacts& artifacts, Progress& progress) {
  LaneLoop(context, options, work, stop, artifacts, progress).run();
}

}  // namespace migsoak::engine
