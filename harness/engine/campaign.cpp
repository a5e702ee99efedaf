#include "engine/campaign.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <thread>

#include "engine/lane.h"
#include "engine/preflight_modes.h"
#include "engine/rehearsal.h"
#include "proc/proc_fs.h"
#include "proc/run_dir.h"
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
  const auto again = parse_scenario(old.scenario_text, scenario.file, old.scenario_dir,
                                    {fmt::format("iterations={}", scenario.iterations)});
  const bool same = again && again->text == scenario.text;
  const auto now = parse_scenario(scenario.text, scenario.file, scenario.directory,
                                  {fmt::format("iterations={}", scenario.iterations)});
  if (!same && (!again || !now || again->text != now->text)) {
    return fail(
        ErrorKind::bad_input,
        fmt::format("{}: --resume with another scenario than this database was made from ('{}'); use the same file, "
                    "--seed and --set, or another --db",
                    path, old.scenario));
  }
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
    MIGSOAK_TRY(rehearse(scenario_, run_dir_->path(), options_.lanes));
    // The run's id is no mark: two runs of a scenario may start in one second. The directory's name is its own.
    const std::string mark = run_id + "." + fs::path(run_dir_->path()).filename().string();
    MIGSOAK_ASSIGN(containment_, proc::Containment::start({mark, run_dir_->path(), ""}));
    proc::Reactor reactor(&stop_);
    MIGSOAK_ASSIGN(preflight_, run_preflight(reactor, *containment_, scenario_, run_dir_->path()));
    if (wants_ram_file(scenario_)) {
      // Of each lane: what the guest is in, and what it migrates to.
      const auto lanes = static_cast<std::uint64_t>(std::max(1, options_.lanes));
      MIGSOAK_ASSIGN(memory_dir_,
                     run_dir_->memory_dir(lanes * 3 * (scenario_.guest.memory_bytes + preflight_.memory_extra_bytes)));
    }
    const record::Manifest manifest = make_manifest(scenario_, preflight_, run_id, containment_->level());
    MIGSOAK_ASSIGN(store_, open_database(scenario_, options_, manifest, result_.db_path));
    recorder_ = std::make_unique<Recorder>(*store_);
    MIGSOAK_ASSIGN(const std::int64_t first, first_iteration());
    MIGSOAK_ASSIGN(const store::Artifacts artifacts, store::Artifacts::create(log_dir_of(result_.db_path)));
    MIGSOAK_TRY(artifacts.prune());
    harness_ = harness_instance(*recorder_, first);
    {
      Progress progress(options_.progress, scenario_.name, first - options_.first_iteration,
                        scenario_.iterations - options_.first_iteration);
      run_lanes(reactor, first, artifacts, progress);
    }
    return conclude();
  }

 private:
  Result<std::int64_t> first_iteration() {
    if (!options_.resume) return options_.first_iteration;
    MIGSOAK_TRY(recorder_->relive());
    MIGSOAK_ASSIGN(const store::Store::Summary summary, store_->summary());
    return summary.last_finished + 1;
  }

  void run_lanes(proc::Reactor& reactor, std::int64_t first, const store::Artifacts& artifacts, Progress& progress) {
    const std::int64_t count = std::max<std::int64_t>(0, scenario_.iterations - first);
    const int lanes = static_cast<int>(std::clamp<std::int64_t>(options_.lanes, 1, std::max<std::int64_t>(1, count)));
    const base::Deadline until = base::Deadline::in(options_.duration.value_or(std::chrono::hours(24 * 365)));
    lane_results_.resize(static_cast<std::size_t>(lanes));
    const auto run_one = [&](int lane, proc::Reactor& lane_reactor) {
      std::string dir = run_dir_->path();
      if (lanes > 1) {
        dir += fmt::format("/{}", lane);
        fs::create_directory(dir);
      }
      const LaneContext context{scenario_, preflight_, lane_reactor, *containment_, *recorder_,
                                stop_,     lane,       lanes,        dir,           log_dir_of(result_.db_path),
                                harness_,  memory_dir_};
      const LaneOptions range{first + count * lane / lanes, first + count * (lane + 1) / lanes,
                              options_.stop_on_finding, until};
      lane_results_[static_cast<std::size_t>(lane)] = run_lane(context, range, artifacts, progress);
    };
    std::vector<std::thread> threads;
    for (int lane = 1; lane < lanes; ++lane) {
      threads.emplace_back([this, lane, &run_one] {
        proc::Reactor lane_reactor(&stop_);
        run_one(lane, lane_reactor);
      });
    }
    run_one(0, reactor);
    for (std::thread& thread : threads) thread.join();
  }

  Result<CampaignResult> conclude() {
    result_.reason = "finished";
    for (const LaneResult& lane : lane_results_) {
      if (!lane.stopped_because.empty()) result_.reason = lane.stopped_because;
    }
    for (const LaneResult& lane : lane_results_) result_.interrupted = result_.interrupted || lane.interrupted;
    if (result_.interrupted) result_.reason = "interrupted";
    std::string harness_error;
    for (const LaneResult& lane : lane_results_) {
      if (!lane.harness_error.empty()) harness_error = lane.harness_error;
    }
    // Ends before the verdict is written, so that a run that says "finished" has nothing left running.
    containment_.reset();
    if (!harness_error.empty()) result_.reason = "harness: " + harness_error;
    result_.verdict = recorder_->verdict();
    const auto ended = recorder_->end(result_.reason);
    if (!harness_error.empty() || !ended) {
      if (result_.verdict == record::Verdict::pass) result_.verdict = record::Verdict::unknown;
      if (!ended && harness_error.empty()) result_.reason = "harness: " + ended.error().describe();
    }
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
  std::vector<LaneResult> lane_results_;
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
