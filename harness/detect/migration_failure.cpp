// migration-failure: one finding per cause, decoded as far as known; and a QMP peer that broke the protocol.
#include <fmt/format.h>

#include <algorithm>

#include "detect/catalog.h"
#include "detect/causes.h"
#include "detect/config_documents.h"
#include "detect/event_text.h"
#include "detect/excusals.h"
#include "detect/finding_set.h"
#include "detect/migration_decode.h"
#include "detect/quiet_point.h"

namespace migsoak::detect {

namespace {

constexpr std::size_t kLogListedMax = 12;

struct Cause {
  std::string process, text, device, status;
  DecodedError decoded;
  int rank = -1;  // the more it explains, the higher
};

class MigrationFailure final : public FindingSetDetector {
 public:
  explicit MigrationFailure(const record::Manifest& manifest)
      : FindingSetDetector("migration-failure"), sides_(manifest.sides), excusals_(manifest, "migration-failure") {}

  std::vector<record::Exclusion> exclusions() const override { return excusals_.exclusions(); }
  std::uint64_t revision() const override { return found_.revision() + excusals_.revision(); }

 private:
  void fold(const record::Observation& observation) override;
  void take_failure(const record::Observation& observation);
  void take_declared(const record::Observation& observation, const record::ExpectedTrouble& trouble);
  void take_unexpected_success(const record::Observation& observation);

  std::vector<record::SideInfo> sides_;
  Excusals excusals_;
};

std::string kind_of(const Cause& cause) {
  if (!cause.decoded.kind.empty()) return cause.decoded.kind;
  return cause.status.empty() ? "failed" : cause.status;
}

std::string why_of(const Cause& cause) {
  if (!cause.decoded.words.empty()) return cause.decoded.words;
  return cause.text.empty() ? "nothing says why" : cause.text;
}

void put_cause(record::Finding& finding, const Cause& cause) {
  const DecodedError& decoded = cause.decoded;
  if (decoded.of_environment) finding.blame = record::Blame::environment;
  finding.evidence["line"] = cause.text;
  if (!decoded.words.empty()) finding.evidence["decoded"] = decoded.words;
  if (!decoded.fields.empty()) finding.evidence["fields"] = decoded.fields;
  if (!cause.device.empty()) finding.evidence["device"] = cause.device;
}

void consider(Cause& best, const std::string& process, const std::string& text, int rank) {
  Cause cause;
  cause.process = process;
  cause.text = base::printable(text);
  cause.device = device_in_error(text);
  cause.rank = rank;
  if (auto decoded = decode_migration_error(text)) {
    cause.decoded = *decoded;
    // An explained error beats an unexplained one; a broken connection is what the other end's error looks like.
    cause.rank += decoded->kind == "connection" ? 0 : !decoded->words.empty() ? 20 : 10;
    if (cause.device.empty()) cause.device = base::printable(decoded->device);
  }
  if (cause.rank <= best.rank) {
    if (best.device.empty()) best.device = cause.device;
    return;
  }
  if (cause.device.empty()) cause.device = best.device;
  cause.status = best.status;
  best = cause;
}

void MigrationFailure::take_failure(const record::Observation& observation) {
  const record::Plan& plan = observation.plan;
  Cause best;
  base::Json log = base::Json::array();
  base::Json errors = base::Json::array();
  std::string phase;
  const auto list_line = [&](const std::string& process, const std::string& line) {
    const base::Json listed = {{"process", process}, {"line", base::printable(line)}};
    if (log.size() < kLogListedMax && std::find(log.begin(), log.end(), listed) == log.end()) log.push_back(listed);
  };
  const auto take_line = [&](const std::string& process, const std::string& line) {
    list_line(process, line);
    if (decode_migration_error(line)) consider(best, process, line, 0);
    if (best.device.empty()) best.device = device_in_error(line);
  };
  for (const record::Event& event : observation.events) {
    if (event.kind == kinds::kMigrationFailed) {
      const bool destination = detail_text(event, "side") == "destination";
      const std::string process =
          is_qemu(event.subject) ? event.subject : "qemu:" + (destination ? plan.destination_side : plan.source_side);
      std::string text = detail_text(event, "error_desc");
      if (text.empty()) text = event.text;
      for (const char* key : {"status", "result"}) {
        if (best.status.empty()) best.status = detail_text(event, key);
      }
      if (phase.empty()) phase = event.phase;
      errors.push_back({{"process", process}, {"error", text}});
      consider(best, process, text, destination ? 3 : 2);
      const base::Json tail = base::json_get(event.detail, "destination_log", base::Json::array());
      for (const base::Json& line : tail.is_array() ? tail : base::Json::array()) {
        if (line.is_string()) take_line("qemu:" + plan.destination_side, line.get<std::string>());
      }
    } else if (event.kind == kinds::kLogLine && is_qemu(event.subject)) {
      take_line(event.subject, event.text);
    } else if (event.kind == kinds::kLogLine && is_told_elsewhere("log-signature", observation, event)) {
      list_line(event.subject, event.text);
    }
  }
  if (best.decoded.of_source) best.process = "qemu:" + plan.source_side;
  if (best.rank < 0) {  // the iteration failed and nothing says why
    best.process = "qemu:" + plan.destination_side;
    phase = observation.phase;
  }
  const std::string kind = kind_of(best);
  // The state of a disk that a restart has broken does not load.
  Symptom symptom;
  symptom.kind = Symptom::Kind::migration_failed;
  symptom.subject = best.process;
  symptom.which = best.decoded.kind;
  symptom.text = best.device;
  if (excusals_.excuse(symptom)) return;
  std::string identity = best.decoded.identity.empty() ? best.text : best.decoded.identity;
  // Of more than two sides the one that was left says which pair it is.
  if (sides_.size() > 2) identity += ' ' + unfolded(plan.source_side);
  const auto reported = found_.report(observation.iteration, best.process, kind, identity);
  if (!reported.fresh) return;
  record::Finding& finding = reported.finding;
  finding.title =
      fmt::format("migration {} to {} ({}) failed in iteration {}: {}{}", plan.source_side, plan.destination_side,
                  plan.mode, observation.iteration, best.device.empty() ? "" : best.device + ": ", why_of(best));
  finding.evidence["errors"] = errors;
  put_cause(finding, best);
  finding.evidence["log"] = log;
  finding.evidence["phase"] = phase;
  finding.evidence["mode"] = plan.mode;
  finding.evidence["transport"] = plan.transport;
  put_pair(finding.evidence, plan, sides_);
}

void MigrationFailure::take_declared(const record::Observation& observation, const record::ExpectedTrouble& trouble) {
  Symptom symptom;
  symptom.of = &trouble;
  if (excusals_.excuse(symptom)) return;
  const record::Plan& plan = observation.plan;
  const std::string subject = trouble.declared.subjects.empty() ? "" : trouble.declared.subjects.front();
  const auto reported = found_.report(observation.iteration, subject, "declared", plan.mode + " " + trouble.why);
  if (!reported.fresh) return;
  reported.finding.title =
      fmt::format("migration {} to {} ({}) is declared to be {} and was, in iteration {}: {}", plan.source_side,
                  plan.destination_side, plan.mode, plan.expect, observation.iteration, trouble.why);
  reported.finding.evidence["declared"] = detail_of_trouble(observation, trouble.declared.cause);
  put_pair(reported.finding.evidence, plan, sides_);
}

// A declaration that no longer holds is as wrong as a failure that nobody expected.
void MigrationFailure::take_unexpected_success(const record::Observation& observation) {
  const record::Plan& plan = observation.plan;
  const auto reported = found_.report(observation.iteration, "qemu:" + plan.destination_side, "not-as-declared",
                                      plan.mode + " " + plan.source_side);
  if (!reported.fresh) return;
  reported.finding.title =
      fmt::format("migration {} to {} ({}) completed in iteration {}, but is declared to be {}", plan.source_side,
                  plan.destination_side, plan.mode, observation.iteration, plan.expect);
  reported.finding.evidence["expect"] = plan.expect;
  reported.finding.evidence["mode"] = plan.mode;
  put_pair(reported.finding.evidence, plan, sides_);
}

void MigrationFailure::fold(const record::Observation& observation) {
  excusals_.begin_iteration(observation);
  bool failed = false, explained = false;
  if (observation.plan.expect != record::kExpectCompletes && observation.status == record::IterationStatus::completed) {
    take_unexpected_success(observation);
  }
  for (const record::ExpectedTrouble& trouble : excusals_.troubles()) {
    if (trouble.declared.cause != record::TroubleCause::edge || trouble.seen != record::TroubleSeen::as_declared) {
      continue;
    }
    explained = true;
    take_declared(observation, trouble);
  }
  for (const record::Event& event : observation.events) {
    if (event.kind == kinds::kMigrationFailed) {
      (is_told_elsewhere("migration-failure", observation, event) ? explained : failed) = true;
    }
    for (const char* kind : {kinds::kHang, kinds::kUnexpectedExit, kinds::kProtocolError, kinds::kHarnessError}) {
      explained = explained || event.kind == kind;
    }
    if (event.kind != kinds::kProtocolError || is_told_elsewhere("migration-failure", observation, event)) continue;
    const auto reported = found_.report(observation.iteration, event.subject, "protocol", "");
    if (!reported.fresh) continue;
    reported.finding.title = fmt::format("{} broke the protocol in iteration {}: {}", event.subject,
                                         observation.iteration, base::printable(event.text));
    reported.finding.evidence["detail"] = event.detail;
    reported.finding.evidence["phase"] = event.phase;
  }
  if (failed || (observation.status == record::IterationStatus::failed && !explained)) take_failure(observation);
}

}  // namespace

std::unique_ptr<Detector> make_migration_failure(const record::Manifest& manifest) {
  return std::make_unique<MigrationFailure>(manifest);
}

}  // namespace migsoak::detect
