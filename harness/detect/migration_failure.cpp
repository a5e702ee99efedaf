// migration-failure: one finding per cause, decoded as far as known; and a QMP peer that broke the protocol.
#include <fmt/format.h>

#include <algorithm>

#include "detect/config_documents.h"
#include "detect/event_text.h"
#include "detect/finding_book.h"
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

class MigrationFailure final : public BookDetector {
 public:
  explicit MigrationFailure(const record::Manifest& manifest)
      : BookDetector("migration-failure"), sides_(manifest.sides) {}

 private:
  void fold(const record::Observation& observation) override;
  void take_failure(const record::Observation& observation);

  std::vector<record::SideInfo> sides_;
};

void consider(Cause& best, const std::string& process, const std::string& text, int rank) {
  Cause cause;
  cause.process = process;
  cause.text = base::printable(text);
  cause.device = device_in_error(text);
  cause.rank = rank;
  if (auto decoded = decode_migration_error(text)) {
    cause.decoded = *decoded;
    // An explained error beats an unexplained one; a broken connection is what the other end's error looks like.
    cause.rank += !decoded->words.empty() ? 20 : decoded->kind == "connection" ? 0 : 10;
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
  const auto take_line = [&](const std::string& process, const std::string& line) {
    const base::Json listed = {{"process", process}, {"line", base::printable(line)}};
    if (log.size() < kLogListedMax && std::find(log.begin(), log.end(), listed) == log.end()) log.push_back(listed);
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
    }
  }
  if (best.rank < 0) {  // the iteration failed and nothing says why
    best.process = "qemu:" + plan.destination_side;
    phase = observation.phase;
  }
  const std::string kind = !best.decoded.kind.empty() ? best.decoded.kind
                           : !best.status.empty()     ? best.status
                                                      : "failed";
  std::string identity = best.decoded.identity.empty() ? best.text : best.decoded.identity;
  // Of more than two sides the one that was left says which pair it is.
  if (sides_.size() > 2) identity += ' ' + unfolded(plan.source_side);
  const auto strike = book_.strike(observation.iteration, best.process, kind, identity);
  if (!strike.fresh) return;
  record::Finding& finding = strike.finding;
  const std::string why = !best.decoded.words.empty() ? best.decoded.words
                          : best.text.empty()         ? "nothing says why"
                                                      : best.text;
  finding.title =
      fmt::format("migration {} to {} ({}) failed in iteration {}: {}{}", plan.source_side, plan.destination_side,
                  plan.mode, observation.iteration, best.device.empty() ? "" : best.device + ": ", why);
  finding.evidence["errors"] = errors;
  finding.evidence["line"] = best.text;
  if (!best.decoded.words.empty()) finding.evidence["decoded"] = best.decoded.words;
  if (!best.decoded.fields.empty()) finding.evidence["fields"] = best.decoded.fields;
  if (!best.device.empty()) finding.evidence["device"] = best.device;
  finding.evidence["log"] = log;
  finding.evidence["phase"] = phase;
  finding.evidence["mode"] = plan.mode;
  finding.evidence["transport"] = plan.transport;
  put_pair(finding.evidence, plan, sides_);
}

void MigrationFailure::fold(const record::Observation& observation) {
  bool failed = false, explained = false;
  for (const record::Event& event : observation.events) {
    failed = failed || event.kind == kinds::kMigrationFailed;
    for (const char* kind : {kinds::kHang, kinds::kUnexpectedExit, kinds::kProtocolError, kinds::kHarnessError}) {
      explained = explained || event.kind == kind;
    }
    if (event.kind != kinds::kProtocolError) continue;
    const auto strike = book_.strike(observation.iteration, event.subject, "protocol", "");
    if (!strike.fresh) continue;
    strike.finding.title = fmt::format("{} broke the protocol in iteration {}: {}", event.subject,
                                       observation.iteration, base::printable(event.text));
    strike.finding.evidence["detail"] = event.detail;
    strike.finding.evidence["phase"] = event.phase;
  }
  if (failed || (observation.status == record::IterationStatus::failed && !explained)) take_failure(observation);
}

}  // namespace

std::unique_ptr<Detector> make_migration_failure(const record::Manifest& manifest) {
  return std::make_unique<MigrationFailure>(manifest);
}

}  // namespace migsoak::detect
