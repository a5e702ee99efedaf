#include "engine/campaign.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <ctime>
#include <filesystem>
#include <optional>

#include "engine/command_line_check.h"
#include "engine/lane.h"
#include "engine/lane_threads.h"
#include "plan/load.h"
#include "preflight/modes.h"
#include "proc/proc_fs.h"
#include "proc/run_dir.h"
#include "record/run_end.h"
#include "store/artifacts.h"

namespace migsoak::engine {

using base::ErrorKind;
using base::fail;
using base::Result;
namespace fs = std::filesystem;

namespace {

std::string new_run_id(const Scenario& scenario) {
  const std::time_t now = std::time(nullptr);
  return fmt::format("{}-{:%Y%m%dT%H%M%SZ}", scenario.name, fmt::gmtime(now));
}

std::string log_dir_of(const std::string& db_path) {
  const fs::path path(db_path);
  if (path.filename() == "results.db") return (path.parent_path() / "logs").string();
  return (path.parent_path() / (path.stem().string() + ".logs")).string();
}

Result<std::unique_ptr<store::Store>> open_database(const Scenario& scenario, const CampaignOptions& options,
                                                    const record::Manifest& manifest, const std::string& path) {
  std::error_code error;
  if (!options.resume) {
    fs::create_directories(fs::absolute(path).parent_path(), error);
    if (error) {
      return fail(ErrorKind::bad_input,
                  fmt::format("{}: can't make the directory for the database: {}", path, error.message()));
    }
    return store::Store::create(path, manifest);
  }
  MIGSOAK_ASSIGN(auto store, store::Store::open(path, /*writable=*/true));
  const record::Manifest& old = store->manifest();
  // The number of iterations may grow; everything else must be what the record was made from.
  const auto again = plan::parse_scenario(old.scenario_text, scenario.file, old.scenario_dir,
                                          {fmt::format("iterations={}", scenario.iterations)});
  const bool same = again && again->text == scenario.text;
  const auto now = plan::parse_scenario(scenario.text, scenario.file, scenario.directory,
                                        {fmt::format("iterations={}", scenario.iterations)});
  if (!same && (!again || !now || again->text != now->text)) {
    return fail(
        ErrorKind::bad_input,
        fmt::format("{}: --resume with another scenario than this database was made from ('{}'); use the same file, "
                    "--seed and --set, or another --db",
                    path, old.scenario));
  }
  if (old.iterations_planned != scenario.iterations) MIGSOAK_TRY(store->plan_iterations(scenario.iterations));
  return store;
}

record::ProcessInstance harness_instance(Recorder& recorder, std::int64_t iteration) {
  record::ProcessInstance harness;
  harness.id = recorder.next_process_id();
  harness.name = "harness";
  harness.pid = getpid();
  if (const auto stat = proc::read_stat(getpid())) harness.start_ticks = stat->start_ticks;
  harness.command = "migsoak";
  harness.born_iteration = iteration;
  harness.fd_limit = proc::read_nofile_limit(getpid()).value_or(0);
  return harness;
}

class Campaign {
 public:
  Campaign(const Scenario& scenario, const CampaignOptions& options, const proc::StopRequest& stop)
      : scenario_(scenario), options_(options), stop_(stop) {}

  Result<CampaignResult> run() {
    const std::string run_id = new_run_id(scenario_);
    result_.db_path = options_.db_path.empty() ? "results/runs/" + run_id + "/results.db" : options_.db_path;
    if (!options_.resume && fs::exists(result_.db_path)) {
      return fail(
          ErrorKind::bad_input,
          fmt::format("{}: exists already; add --resume to go on with it, or name another --db", result_.db_path));
    }
    proc::RunDir::remove_leftovers();
    MIGSOAK_ASSIGN(run_dir_, proc::RunDir::create(run_id));
    MIGSOAK_TRY(check_command_lines(scenario_, run_dir_->path(), options_.lanes));
    MIGSOAK_ASSIGN(containment_, proc::Containment::start({run_id, run_dir_->path(), ""}));
    proc::Reactor reactor(&stop_);
    MIGSOAK_ASSIGN(preflight_, preflight::run_preflight(reactor, *containment_, scenario_, run_dir_->path()));
    if (preflight::wants_ram_file(scenario_)) {
      // Of each lane: what the guest is in, and what it migrates to.
      const auto lanes = static_cast<std::uint64_t>(std::max(1, options_.lanes));
      MIGSOAK_ASSIGN(memory_dir_,
                     run_dir_->memory_dir(lanes * 3 * (scenario_.guest.memory_bytes + preflight_.memory_extra_bytes)));
    }
    record::Manifest manifest = preflight::make_manifest(scenario_, preflight_, run_id, containment_->level());
    manifest.first_iteration = options_.first_iteration;
    MIGSOAK_ASSIGN(store_, open_database(scenario_, options_, manifest, result_.db_path));
    recorder_ = std::make_unique<Recorder>(*store_);
    MIGSOAK_TRY(find_work());
    MIGSOAK_ASSIGN(const store::Artifacts artifacts, store::Artifacts::create(log_dir_of(result_.db_path)));
    MIGSOAK_TRY(artifacts.prune());
    {
      const std::int64_t planned = store_->manifest().planned_count();
      Progress progress(options_.progress, scenario_.name, planned - work_->missing(), planned);
      run_lanes(reactor, artifacts, progress);
    }
    return conclude();
  }

 private:
  // What is planned and not on record.
  Result<void> find_work() {
    const Stretch planned = {store_->manifest().first_iteration, scenario_.iterations};
    IterationSet done;
    if (options_.resume) {
      MIGSOAK_TRY(recorder_->rebuild_judge_state([&](const record::Observation& observation) {
        done.add(observation.iteration);
        lane_base_ = std::max(lane_base_, observation.lane + 1);
      }));
      MIGSOAK_TRY(store_->for_each_event(
          record::event_kind::kLineageGivenUp, [&](std::int64_t at, const record::Event& event) -> Result<void> {
            done.add({at + 1, at + 1 + base::json_get<std::int64_t>(event.detail, "left_out", 0)});
            return {};
          }));
    }
    const std::vector<Stretch> missing = done.missing_of(planned);
    const std::int64_t first = missing.empty() ? planned.end : missing.front().begin;
    // Detectors fold each lane in the order of its iterations. Where something is missed that lies before what is on
    // record, the lanes that make up for it are not those of before.
    if (first > done.last()) lane_base_ = 0;
    work_.emplace(missing, scenario_.lineage_iterations, options_.lanes);
    harness_ = harness_instance(*recorder_, first);
    return {};
  }

  void run_lanes(proc::Reactor& reactor, const store::Artifacts& artifacts, Progress& progress) {
    const int lanes = work_->lanes();
    const LaneOptions options{options_.stop_on_finding,
                              base::Deadline::in(options_.duration.value_or(std::chrono::hours(24 * 365)))};
    run_side_by_side(lanes, stop_token_, [&](int lane) {
      std::optional<proc::Reactor> own_reactor;
      if (lane > 0) own_reactor.emplace(&stop_);
      std::string dir = run_dir_->path();
      if (lanes > 1) {
        dir += fmt::format("/{}", lane);
        fs::create_directory(dir);
      }
      hypervisor::Drivers drivers(own_reactor ? *own_reactor : reactor, *containment_);
      const LaneContext context{scenario_,
                                preflight_,
                                own_reactor ? *own_reactor : reactor,
                                *containment_,
                                drivers,
                                *recorder_,
                                stop_,
                                lane_base_ + lane,
                                lanes,
                                dir,
                                log_dir_of(result_.db_path),
                                harness_,
                                memory_dir_};
      run_lane(context, options, *work_, stop_token_, artifacts, progress);
    });
  }

  std::string reason() const {
    namespace end_reason = record::end_reason;
    if (const std::string error = stop_token_.harness_error(); !error.empty()) return end_reason::kHarness + error;
    if (stop_token_.interrupted()) return end_reason::kInterrupted;
    if (std::string why = stop_token_.stopped_because(); !why.empty()) return why;
    assert(work_->missing() == 0);
    return end_reason::kFinished;
  }

  Result<CampaignResult> conclude() {
    record::RunEnd end;
    end.planned = store_->manifest().planned_count();
    end.left_out = work_->left_out();
    end.finished = end.planned - work_->missing() - end.left_out;
    end.reason = reason();
    result_.interrupted = stop_token_.interrupted();
    // Ends before the verdict is written, so that a run that says "finished" has nothing left running.
    containment_.reset();
    if (const auto ended = recorder_->end(end); !ended && !end.reason.starts_with(record::end_reason::kHarness)) {
      end.reason = record::end_reason::kHarness + ended.error().describe();
    }
    result_.reason = end.reason;
    result_.verdict = record::verdict_of_run(end, recorder_->verdict());
    return result_;
  }

  const Scenario& scenario_;
  const CampaignOptions& options_;
  const proc::StopRequest& stop_;
  CampaignResult result_;
  // In the order of construction; containment must end (killing what is left) before its directory goes.
  std::unique_ptr<proc::RunDir> run_dir_;
  std::unique_ptr<proc::Containment> containment_;
  Preflight preflight_;
  std::string memory_dir_;  // in or beside the run directory, and goes with it
  std::unique_ptr<store::Store> store_;
  std::unique_ptr<Recorder> recorder_;
  record::ProcessInstance harness_;
  std::optional<WorkQueue> work_;
  StopToken stop_token_;
  int lane_base_ = 0;  // number of this session's first lane
};

}  // namespace

int CampaignResult::exit_status() const {
  if (verdict == record::Verdict::fail) return 1;  // whatever else happened
  if (interrupted) return 130;
  return verdict == record::Verdict::pass ? 0 : 3;
}

Result<CampaignResult> run_campaign(const Scenario& scenario, const CampaignOptions& options,
                                    const proc::StopRequest& stop) {
  return Campaign(scenario, options, stop).run();
}

}  // namespace migsoak::engine
