// crash: a process of the topology that ended, or a target or guest that stopped serving, although nobody asked.
#include <fmt/format.h>

#include <set>
#include <unordered_map>

#include "detect/causes.h"
#include "detect/event_text.h"
#include "detect/excusals.h"
#include "detect/finding_set.h"
#include "detect/quiet_point.h"

namespace migsoak::detect {

namespace {

struct End {
  std::string process;
  std::int64_t signal = 0, exit_code = -1;
  bool core_dumped = false;
  std::string last_lines, phase;
  base::Json detail;
};

// As the rules of causes.def take it.
record::Event event_of(const End& end) {
  record::Event event;
  event.kind = kinds::kUnexpectedExit;
  event.subject = end.process;
  event.detail = {{"signal", end.signal}, {"exit_code", end.exit_code}, {"last_lines", end.last_lines}};
  return event;
}

// What the end of a target or daemon brought about: the first lines of it, for the evidence.
base::Json consequences_of(const record::Observation& observation) {
  constexpr std::size_t kLinesMax = 8;
  base::Json lines = base::Json::array();
  for (const record::Event& event : observation.events) {
    if (lines.size() >= kLinesMax) break;
    if (tells_of_a_lost_target(observation, event) || is_failure_of_ended_daemon(observation, event))
      lines.push_back(event.subject + ": " + base::printable(event.text, 200));
    const bool ended = event.kind == kinds::kUnexpectedExit && is_qemu(event.subject);
    if (ended && detail_int(event, "exit_code", -1) == 1) lines.push_back(event.subject + " exited with status 1");
  }
  return lines;
}

class Crash final : public FindingSetDetector {
 public:
  explicit Crash(const record::Manifest& manifest) : FindingSetDetector("crash"), excusals_(manifest, "crash") {}

  std::vector<record::Exclusion> exclusions() const override { return excusals_.exclusions(); }
  std::uint64_t revision() const override { return found_.revision() + excusals_.revision(); }

 private:
  void fold(const record::Observation& observation) override;
  void take_end(const record::Observation& observation, const End& end);
  void take_loss(const record::Observation& observation);
  void lose(const record::Observation& observation, const std::string& process, const std::string& kind,
            const std::string& why, const base::Json& detail);

  Excusals excusals_;
  int lineage_ = -1;
  std::unordered_map<std::int64_t, std::string> names_;  // of the lineage's processes
};

void Crash::fold(const record::Observation& observation) {
  excusals_.begin_iteration(observation);
  if (observation.lineage != lineage_) names_.clear();
  lineage_ = observation.lineage;
  for (const record::ProcessInstance& process : observation.processes_born) names_[process.id] = process.name;
  std::set<std::int64_t> told;
  std::set<std::string> told_names;
  for (const record::Event& event : observation.events) {
    if (event.kind != kinds::kUnexpectedExit) continue;
    End end;
    end.process = event.subject;
    end.signal = detail_int(event, "signal");
    end.exit_code = detail_int(event, "exit_code", -1);
    end.core_dumped = base::json_get<bool>(event.detail, "core_dumped", false);
    end.phase = event.phase;
    end.detail = event.detail;
    if (event.detail.is_object() && event.detail.contains("last_lines")) {
      end.last_lines = base::dump_json(event.detail["last_lines"]);
    }
    take_end(observation, end);
    told.insert(event.process_id);
    told_names.insert(event.subject);
  }
  for (const record::ProcessEnd& ended : observation.processes_ended) {
    const auto name = names_.find(ended.process_id);
    const std::string process = name == names_.end() ? "" : name->second;
    if (name != names_.end()) names_.erase(name);
    if (ended.expected || told.count(ended.process_id) != 0 || told_names.count(process) != 0) continue;
    take_end(observation, {process, ended.signal, ended.exit_code, ended.core_dumped, ended.last_lines,
                           observation.phase, base::Json{{"last_lines", ended.last_lines}}});
  }
  take_loss(observation);
}

void Crash::take_end(const record::Observation& observation, const End& end) {
  if (is_told_elsewhere("crash", observation, event_of(end))) return;
  if (end.signal == 0 && end.exit_code < 0) {  // it may well live on: it broke a promise
    lose(observation, end.process, "gave-up", base::json_text(end.detail, "why"), end.detail);
    return;
  }
  const std::string kind = end.signal != 0 ? signal_name(end.signal) : fmt::format("exit-{}", end.exit_code);
  const auto reported = found_.report(observation.iteration, end.process, kind, "");
  if (!reported.fresh) return;
  const std::string how = end.signal != 0 ? fmt::format("died of {}{}", kind, end.core_dumped ? " (core dumped)" : "")
                                          : fmt::format("exited with status {} although nobody asked", end.exit_code);
  record::Finding& finding = reported.finding;
  finding.title = fmt::format("{} {} in iteration {}{}", end.process.empty() ? "a process" : end.process, how,
                              observation.iteration, end.phase.empty() ? "" : ", phase " + end.phase);
  finding.evidence["phase"] = end.phase;
  finding.evidence["detail"] = end.detail;
  if (is_qemu(end.process)) return;
  if (base::Json lines = consequences_of(observation); !lines.empty())
    finding.evidence["consequences"] = std::move(lines);
}

void Crash::lose(const record::Observation& observation, const std::string& process, const std::string& kind,
                 const std::string& why, const base::Json& detail) {
  const auto reported = found_.report(observation.iteration, process, kind, why);
  if (!reported.fresh) return;
  const std::string what = kind == "dropped-client" ? "dropped its client or stopped serving"
                           : kind == "gave-up"      ? "ended or stopped answering"
                                                    : "can't go on";
  reported.finding.title = fmt::format("{} {} in iteration {}: {}", process, what, observation.iteration,
                                       why.empty() ? "nothing says why" : why);
  reported.finding.evidence["why"] = why;
  reported.finding.evidence["detail"] = detail;
  reported.finding.evidence["phase"] = observation.phase;
}

// A loss that nothing else in its iteration explains must not pass in silence.
void Crash::take_loss(const record::Observation& observation) {
  bool explained = false;  // for the guest
  for (const record::Event& event : observation.events) {
    for (const char* kind :
         {kinds::kUnexpectedExit, kinds::kHang, kinds::kGuestCorruption, kinds::kGuestPanic, kinds::kDiskCorruption,
          kinds::kMigrationFailed, kinds::kProtocolError, kinds::kTargetLost, kinds::kHarnessError}) {
      if (event.kind == kind) explained = true;
    }
  }
  for (const record::Event& event : observation.events) {
    if (event.kind == kinds::kTargetLost) {
      const bool told = is_told_elsewhere("crash", observation, event);
      const std::string why = detail_text(event, "why");
      if (!told) lose(observation, event.subject, "dropped-client", why.empty() ? event.text : why, event.detail);
    } else if (event.kind == kinds::kGuestLost && !explained) {
      const std::string why = detail_text(event, "why");
      lose(observation, "guest", "lost", why.empty() ? event.text : why, event.detail);
      explained = true;
    }
  }
  for (const record::ProcessEnd& ended : observation.processes_ended) explained = explained || !ended.expected;
  explained = explained || excusals_.has(record::TroubleCause::upgrade_failure);  // told by upgrade-failure
  if (observation.status != record::IterationStatus::lost || explained) return;
  Symptom symptom;
  symptom.kind = Symptom::Kind::guest_lost;
  symptom.subject = "guest";
  if (!excusals_.excuse(symptom)) lose(observation, "guest", "lost", "", {});
}

}  // namespace

std::unique_ptr<Detector> make_crash(const record::Manifest& manifest) {
  return std::make_unique<Crash>(manifest);
}

}  // namespace migsoak::detect
