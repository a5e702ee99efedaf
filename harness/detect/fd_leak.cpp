// fd-leak: descriptors that a process is never told to give back, or forgets to (case 1 of cases.md).
//
// Descriptors are integers, so the tests are exact (step_growth.h). One fold per process and kind. QEMU processes are
// replaced in every iteration and hand descriptors on (cpr), so all QEMUs of a lineage are one track, its sides and
// modes apart as classes. A pid that execs is that track's business too, and is looked at from generation to generation
// besides (fd_generations.h).
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <unordered_map>

#include "detect/catalog.h"
#include "detect/fd_forecast.h"
#include "detect/fd_generations.h"
#include "detect/fd_ledger.h"
#include "detect/fd_samples.h"
#include "detect/finding_set.h"
#include "detect/step_growth.h"

namespace migsoak::detect {

namespace {

constexpr std::size_t kPointsMax = 4096;
constexpr std::size_t kRecentMax = 64;  // quiet points remembered to fill in zeros for a kind that turns up later
constexpr std::size_t kSeriesListedMax = 40;
constexpr std::int64_t kRefreshEvery = 10;  // iterations between looks at a leak that is already proven
constexpr const char* kQemuTrack = "qemu";
constexpr std::string_view kExecRule = "exec-generation";

struct KindSeries {
  std::vector<Count> points;
  std::map<ClassId, SuffixMinima> minima;
  GenerationGrowth execs;
  std::string left_open;   // the last stray of an exec
  bool held_back = false;  // the warm-up kept the proof from being made
};

struct Track {
  std::int64_t process_id = 0;
  std::int32_t first_iteration = -1;
  std::deque<Count> recent;  // value 0
  std::map<std::string, KindSeries> kinds;
};

struct Leak {
  LeakProof proof;
  std::string process, kind;
  bool active = false;  // its process still lives and the fold goes on
  std::int64_t life = 0;
  std::int64_t life_first = 0;
  std::int64_t base = 0;
  std::int64_t refreshed_at = 0;
};

std::string track_of(const std::string& process) {
  return is_qemu(process) ? kQemuTrack : process;
}

std::string rate_words(const LeakProof& proof, const std::string& kind) {
  if (proof.rule == kExecRule) {
    return proof.rate >= 1 ? fmt::format("{:g} {} per exec generation", proof.rate, kind)
                           : fmt::format("1 {} every {:.2g} exec generations", kind, 1 / proof.rate);
  }
  if (proof.rule == "periodic" || proof.rule == "steady") {
    const double every = proof.step / proof.rate;
    const std::string step =
        proof.step == std::round(proof.step) ? fmt::format("{:.0f}", proof.step) : fmt::format("{:.1f}", proof.step);
    return fmt::format("{} {} {} {:.0f} iterations", step, kind, proof.rule == "periodic" ? "every" : "about every",
                       every);
  }
  const bool whole = std::abs(proof.rate - std::round(proof.rate)) < 1e-9;
  return fmt::format("{} {} per iteration",
                     whole ? fmt::format("{:.0f}", proof.rate) : fmt::format("{:.2g}", proof.rate), kind);
}

std::string confidence_words(const LeakProof& proof) {
  if (proof.rule == "exact") {
    return fmt::format("exact: {} quiet points in a row (iterations {} to {}) lie on one line of {:g} per iteration",
                       proof.points, proof.window_first, proof.window_last, proof.rate);
  }
  if (proof.rule == kExecRule) {
    return fmt::format("exact: the last {} execs (iterations {} to {}) that can be compared left {:g} open",
                       proof.points, proof.window_first, proof.window_last, proof.rate);
  }
  if (proof.rule == "every-iteration") {
    return fmt::format("more at each of {} quiet points in a row (iterations {} to {}), never less", proof.points,
                       proof.window_first, proof.window_last);
  }
  return fmt::format(
      "{} steps, {} to {} iterations apart, none of them ever given back; the pace does not fall as a "
      "filling pool's would",
      proof.points, proof.gap_min, proof.gap_max);
}

class FdLeak final : public FindingSetDetector {
 public:
  explicit FdLeak(const record::Manifest& manifest)
      : FindingSetDetector("fd-leak"), manifest_(manifest), warm_up_(excluded(manifest.gate, "first-migration")) {}

  std::vector<record::Exclusion> exclusions() const override {
    if (held_back_ == 0) return {};
    return {exclusion_of("first-migration", "fd-leak", held_back_)};
  }
  std::uint64_t revision() const override { return found_.revision() + exclusion_revision_; }

 private:
  void fold(const record::Observation& observation) override;
  void take_samples(const record::Observation& observation, const std::string& process, const FdSample& sample);
  void judge_series(Track& track, KindSeries& series, const std::string& kind, std::int32_t now);
  void prove(Track& track, KindSeries& series, const std::string& kind, LeakProof proof, std::int32_t now);
  void refresh(Leak& leak, std::int64_t now);
  void end_life(const std::string& process, std::int64_t now);
  void hold_back(KindSeries& series, bool held);
  void note_exec(GenerationGrowth& execs, const record::Observation& observation, std::int64_t process_id,
                 std::int32_t count, ClassId class_id, std::int32_t inherited) const;
  std::int64_t limit_of(const std::string& process, std::int64_t process_id) const;
  base::Json series_of(const Leak& leak, const KindSeries& series) const;

  record::Manifest manifest_;
  bool warm_up_;
  int lineage_ = -1;
  ClassTable classes_;
  FdLedger ledger_;
  std::map<std::int64_t, std::map<std::string, InheritedFds>> inherited_;  // of this iteration
  std::map<std::string, Track> tracks_;
  std::map<std::string, FdUsage> usage_;  // by process name
  std::unordered_map<std::int64_t, record::ProcessInstance> processes_;
  struct Latest {
    std::int64_t id = 0;
    int generation = 0;
  };
  std::map<std::string, Latest> latest_process_;  // by name
  std::map<std::pair<std::string, std::string>, Leak> leaks_;
  std::int64_t held_back_ = 0;
  std::uint64_t exclusion_revision_ = 0;
};

void FdLeak::fold(const record::Observation& observation) {
  if (observation.lineage != lineage_) {
    for (auto& [key, leak] : leaks_) leak.active = false;
    tracks_.clear();
    usage_.clear();
    // Nobody saw its processes end. Who outlives it, the harness, is named and listed again.
    processes_.clear();
    ledger_ = FdLedger();
    lineage_ = observation.lineage;
  }
  ledger_.observe(observation);
  inherited_ = inherited_in(observation);
  for (const record::ProcessInstance& process : observation.processes_born) processes_[process.id] = process;
  for (const auto& [process, sample] : fd_samples(observation)) take_samples(observation, process, sample);
  for (const record::ProcessEnd& end : observation.processes_ended) {
    if (const auto process = processes_.find(end.process_id); process != processes_.end()) {
      const std::string name = process->second.name;
      // A QEMU's end is part of every iteration; the track goes on in its successor.
      if (!is_qemu(name)) end_life(name, observation.iteration);
      processes_.erase(process);
    }
  }
}

void FdLeak::take_samples(const record::Observation& observation, const std::string& process, const FdSample& sample) {
  const auto now = static_cast<std::int32_t>(observation.iteration);
  const std::string track_name = track_of(process);
  Track& track = tracks_[track_name];
  if (track_name != kQemuTrack && track.process_id != sample.process_id) {
    if (track.process_id != 0) end_life(process, now);
    track = Track{};
    usage_.erase(process);
    track.process_id = sample.process_id;
  }
  if (track.first_iteration < 0) track.first_iteration = now;
  const auto instance = processes_.find(sample.process_id);
  latest_process_[process] = {sample.process_id, instance == processes_.end() ? 0 : instance->second.generation};

  FdUsage& usage = usage_[process];
  std::int64_t sum = 0;
  for (const auto& [kind, value] : sample.kinds) sum += value;
  usage.note(now, sample.total.value_or(sum), sample.peak, ledger_.deaths_of(sample.process_id));
  usage.set_limit(limit_of(process, sample.process_id));

  const ClassId class_id = classes_.id_of(observation, process);
  if (ClassTable::overflowed(class_id)) return;
  for (const auto& [kind, value] : sample.kinds) {
    const auto [series, fresh] = track.kinds.try_emplace(kind);
    if (!fresh) continue;
    // A kind that was never there before counted zero at the earlier quiet points.
    for (const Count& point : track.recent) {
      series->second.points.push_back(point);
      series->second.minima[point.class_id].add(point.iteration, 0);
    }
  }
  track.recent.push_back({now, 0, class_id, classes_.context_of(class_id)});
  if (track.recent.size() > kRecentMax) track.recent.pop_front();
  for (auto& [kind, series] : track.kinds) {
    const auto value = sample.kinds.find(kind);
    const std::int32_t count = value == sample.kinds.end() ? 0 : value->second;
    if (series.points.size() >= kPointsMax) {
      series.points.erase(series.points.begin(), series.points.begin() + kPointsMax / 2);
    }
    series.points.push_back({now, count, class_id, classes_.context_of(class_id)});
    series.minima[class_id].add(now, count);
    const InheritedFds& inherited = inherited_[sample.process_id][kind];
    if (inherited.count > 0) series.left_open = inherited.example;
    note_exec(series.execs, observation, sample.process_id, count, class_id, inherited.count);
    judge_series(track, series, kind, now);
  }
}

void FdLeak::note_exec(GenerationGrowth& execs, const record::Observation& observation, std::int64_t process_id,
                       std::int32_t count, ClassId class_id, std::int32_t inherited) const {
  const auto process = processes_.find(process_id);
  if (process == processes_.end() || !is_qemu(process->second.name)) return;
  const auto now = static_cast<std::int32_t>(observation.iteration);
  if (process->second.generation > 0) execs.add_inherited(process->second.name, now, inherited, class_id);
  const record::Plan& plan = observation.plan;
  if (process->second.generation == 0 || !plan.operations.empty() || !plan.restarts.empty() ||
      !plan.upgrade_failure.empty()) {
    return execs.cut();
  }
  const std::int64_t life = process->second.pid ^ (process->second.start_ticks << 22);  // pids have 22 bits at most
  execs.add(life, process->second.generation, now, count, class_id);
}

std::int64_t FdLeak::limit_of(const std::string& process, std::int64_t process_id) const {
  const auto instance = processes_.find(process_id);
  if (instance != processes_.end() && instance->second.fd_limit > 0) return instance->second.fd_limit;
  for (const record::TargetInfo& target : manifest_.targets) {
    const std::string name = "target:" + target.name;
    if (process == name || starts_with(process, name + "@")) return target.nofile;
  }
  return 0;
}

void FdLeak::hold_back(KindSeries& series, bool held) {
  if (series.held_back == held) return;
  series.held_back = held;
  held_back_ += held ? 1 : -1;
  ++exclusion_revision_;
}

void FdLeak::judge_series(Track& track, KindSeries& series, const std::string& kind, std::int32_t now) {
  const ClassId class_id = series.points.back().class_id;
  const auto known = leaks_.find({classes_.process_of(class_id), kind});
  if (known != leaks_.end() && known->second.active) {
    if (now - known->second.refreshed_at >= kRefreshEvery) refresh(known->second, now);
    return;
  }
  const auto dense = [&](std::int32_t from) {
    auto proof = exact_leak(series.points, from);
    return proof ? proof : every_iteration_leak(series.points, from);
  };
  const std::int32_t from = track.first_iteration + (warm_up_ ? 1 : 0);
  auto at_once = dense(from);
  if (!at_once) at_once = series.execs.proof();
  if (!at_once) at_once = series.execs.proof_by_inherited(classes_.process_of(class_id));
  if (at_once) {
    // The point that the warm-up leaves out can't tell when the growth began: the life's start is the earliest.
    if (at_once->since_iteration <= from + 1) at_once->since_iteration = track.first_iteration;
    return prove(track, series, kind, std::move(*at_once), now);
  }
  if (warm_up_ && now - track.first_iteration <= 4 * kDenseWindow && dense(track.first_iteration)) {
    hold_back(series, true);
  }
  if (auto proof = sparse_leak(series.minima[class_id], series.points, class_id, now)) {
    prove(track, series, kind, std::move(*proof), now);
  }
}

void FdLeak::prove(Track& track, KindSeries& series, const std::string& kind, LeakProof proof, std::int32_t now) {
  hold_back(series, false);
  std::vector<std::string> names;
  for (const ClassId class_id : proof.classes) {
    const std::string& name = classes_.process_of(class_id);
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  for (const std::string& name : names) {
    Leak& leak = leaks_[{name, kind}];
    if (leak.active) continue;
    leak.life += 1;
    leak.proof = proof;
    leak.process = name;
    leak.kind = kind;
    leak.active = true;
    leak.life_first = track.first_iteration;
    leak.base = series.points.front().value;
    for (const Count& point : series.points) {
      if (point.iteration < proof.since_iteration) leak.base = point.value;
    }
    const auto reported = found_.report(now, name, kind, "");
    if (reported.fresh) reported.finding.first_iteration = proof.since_iteration;
  }
  // Each leak's forecast comes from all kinds of its process together.
  for (auto& [key, leak] : leaks_) {
    if (leak.active && std::find(names.begin(), names.end(), leak.process) != names.end()) refresh(leak, now);
  }
}

base::Json FdLeak::series_of(const Leak& leak, const KindSeries& series) const {
  std::vector<const Count*> own;
  for (const Count& point : series.points) {
    if (classes_.process_of(point.class_id) == leak.process) own.push_back(&point);
  }
  base::Json listed = base::Json::array();
  const std::size_t every = own.size() / kSeriesListedMax + 1;
  for (std::size_t i = 0; i < own.size(); ++i) {
    if (i % every == 0 || i + 1 == own.size()) listed.push_back({own[i]->iteration, own[i]->value});
  }
  return listed;
}

void FdLeak::refresh(Leak& leak, std::int64_t now) {
  leak.refreshed_at = now;
  double rate_all = 0;
  base::Json rates = base::Json::object();
  for (const auto& [key, other] : leaks_) {
    if (!other.active || other.process != leak.process) continue;
    // What execs lose is given back when the process ends; only where every iteration is an exec it adds up.
    const bool adds_up = latest_process_[leak.process].generation >= now - other.proof.window_first;
    if (other.proof.rule != kExecRule || adds_up) rate_all += other.proof.rate;
    rates[other.kind] = other.proof.rate;
  }
  const FdUsage& usage = usage_[leak.process];
  const auto exhausts = usage.exhausts_at(rate_all);

  record::Finding& finding = found_.find(leak.process, leak.kind, "");
  base::Json& evidence = finding.evidence;
  base::Json& lives = evidence["lives"];
  if (static_cast<std::int64_t>(lives.size()) < leak.life && lives.size() < kIterationsListedMax) {
    lives.push_back({{"first_iteration", leak.life_first}, {"detected_iteration", now}});
  }
  if (exhausts && static_cast<std::int64_t>(lives.size()) == leak.life)
    lives.back()["exhausts_at_iteration"] = *exhausts;
  const auto track = tracks_.find(track_of(leak.process));
  if (track != tracks_.end()) {
    if (const auto series = track->second.kinds.find(leak.kind); series != track->second.kinds.end()) {
      evidence["series"] = series_of(leak, series->second);
      if (!series->second.left_open.empty()) evidence["left_open"] = series->second.left_open;
    }
  }
  if (const auto process = latest_process_.find(leak.process); process != latest_process_.end()) {
    base::Json survivors = ledger_.survivors(process->second.id, leak.kind, leak.life_first, now);
    if (!survivors.is_null()) evidence["survivors"] = std::move(survivors);
  }
  evidence["as_of_iteration"] = now;
  if (leak.life == 1) {
    const LeakProof& proof = leak.proof;
    finding.rate_per_iteration = proof.rate;
    finding.exhausts_at_iteration = exhausts;
    const int generation = latest_process_[leak.process].generation;
    finding.title = fmt::format("{} leaks {} since iteration {}{}", leak.process, rate_words(proof, leak.kind),
                                finding.first_iteration.value_or(0),
                                generation > 0 || proof.rule == kExecRule ? ", kept over exec" : "");
    if (generation > 0) evidence["generation"] = generation;
    if (exhausts) {
      finding.title += fmt::format(
          "; reaches RLIMIT_NOFILE {} at iteration ≈ {} ({:.4g} descriptors per iteration over "
          "all kinds)",
          usage.limit(), *exhausts, rate_all);
    }
    evidence["rule"] = proof.rule;
    evidence["base"] = leak.base;
    evidence["k"] = proof.step;
    evidence["window"] = {{"first_iteration", proof.window_first},
                          {"last_iteration", proof.window_last},
                          {"points", proof.points},
                          {"gap_min_iterations", proof.gap_min},
                          {"gap_max_iterations", proof.gap_max}};
    evidence["confidence"] = confidence_words(proof);
    if (base::Json axis = axis_fit(manifest_, leak.process, proof.rate); !axis.is_null()) evidence["axis"] = axis;
    evidence["limit"] = usage.limit();
    evidence["rates_per_iteration"] = rates;
    evidence["rate_all_kinds"] = rate_all;
    evidence["quiet_total"] = usage.total();
    evidence["peak_above_quiet"] = usage.headroom();
    evidence["peak_measured"] = usage.headroom_measured();
  }
  found_.touch();
}

void FdLeak::end_life(const std::string& process, std::int64_t now) {
  for (auto& [key, leak] : leaks_) {
    if (!leak.active || leak.process != process) continue;
    refresh(leak, now);
  }
  for (auto& [key, leak] : leaks_) {
    if (leak.process == process) leak.active = false;
  }
}

}  // namespace

std::unique_ptr<Detector> make_fd_leak(const record::Manifest& manifest) {
  return std::make_unique<FdLeak>(manifest);
}

}  // namespace migsoak::detect
