// `migsoak findings`: for machines and for people.
#include <fmt/format.h>

#include "base/text.h"
#include "report/figures.h"
#include "report/reads.h"
#include "report/report.h"

namespace migsoak::report {

base::Result<base::Json> findings_json(const store::Store& store) {
  MIGSOAK_ASSIGN(const store::Store::Summary summary, store.summary());
  MIGSOAK_ASSIGN(const std::vector<record::Finding> findings, findings_with_replay(store));
  MIGSOAK_ASSIGN(const Outcome outcome, outcome_of(store, summary, findings));
  MIGSOAK_ASSIGN(const std::vector<ReadCount> reads, reads_of(store));
  base::Json list = base::Json::array();
  for (const record::Finding& finding : findings) list.push_back(record::to_json(finding));
  base::Json json{{"run", store.manifest().run},
                  {"scenario", store.manifest().scenario},
                  {"verdict", record::to_string(outcome.verdict)},
                  {"iterations", summary.iterations_finished},
                  {"findings", std::move(list)}};
  if (outcome.end.reason != record::end_reason::kFinished) {
    json["iterations_planned"] = outcome.end.planned;
    json["ended"] = outcome.end.reason;
  }
  // Records of before reads were counted have none.
  if (!reads.empty()) json["reads"] = to_json(reads);
  return json;
}

base::Result<std::string> findings_text(const store::Store& store) {
  MIGSOAK_ASSIGN(const store::Store::Summary summary, store.summary());
  MIGSOAK_ASSIGN(const std::vector<record::Finding> findings, findings_with_replay(store));
  const record::Manifest& manifest = store.manifest();
  MIGSOAK_ASSIGN(const Outcome outcome, outcome_of(store, summary, findings));
  std::string out = fmt::format("{}  {}  {} iterations, {}\n", record::to_string(outcome.verdict),
                                base::printable(manifest.run), summary.iterations_finished, outcome.found);
  for (const record::Finding& finding : findings) {
    out += fmt::format("\n{} {}", record::to_string(finding.severity), base::printable(finding.detector));
    if (!finding.process.empty()) out += " " + base::printable(finding.process);
    if (!finding.kind.empty()) out += " " + base::printable(finding.kind);
    if (finding.blame != record::Blame::subject) out += " (" + record::to_string(finding.blame) + "'s fault)";
    out += "\n  " + base::printable(finding.title, 1000) + "\n";
    const std::string course = course_of(finding);
    if (!course.empty()) out += "  " + course + "\n";
    out += "  how sure: " + confidence_of(finding) + "\n";
    const std::string evidence = evidence_of(finding, Evidence::full);
    if (!evidence.empty()) out += "  evidence: " + evidence + "\n";
    if (const std::string known = known_of(finding); !known.empty()) out += "  " + known + "\n";
    if (!finding.replay.empty()) out += "  replay: " + base::printable(finding.replay, 4096) + "\n";
    out += "  fingerprint: " + base::printable(finding.fingerprint) + "\n";
  }
  return out;
}

}  // namespace migsoak::report
