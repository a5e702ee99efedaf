// `migsoak findings`: for machines and for people.
#include <fmt/format.h>

#include "base/text.h"
#include "report/figures.h"
#include "report/model_build.h"
#include "report/report.h"

namespace migsoak::report {

base::Result<base::Json> findings_json(const store::Store& store) {
  MIGSOAK_ASSIGN(const ReportModel model, model_of(store, Extent::findings));
  base::Json list = base::Json::array();
  for (const ReportedFinding& one : model.findings) list.push_back(record::to_json(one.finding));
  base::Json json{{"run", model.run.name},
                  {"scenario", model.run.scenario},
                  {"verdict", record::to_string(model.outcome.verdict)},
                  {"iterations", model.run.finished},
                  {"findings", std::move(list)}};
  const record::RunEnd& end = model.outcome.end;
  if (end.reason != record::end_reason::kFinished) {
    json["iterations_planned"] = end.planned;
    json["ended"] = end.reason;
  }
  // Records of before reads were counted have none.
  if (!model.reads.empty()) json["reads"] = to_json(model.reads);
  return json;
}

base::Result<std::string> findings_text(const store::Store& store) {
  MIGSOAK_ASSIGN(const ReportModel model, model_of(store, Extent::findings));
  std::string out =
      fmt::format("{}  {}  {} iterations, {}\n", record::to_string(model.outcome.verdict),
                  base::printable(model.run.name), model.run.finished, base::printable(model.outcome.found, 8192));
  for (const ReportedFinding& one : model.findings) {
    const record::Finding& finding = one.finding;
    out += fmt::format("\n{} {}", record::to_string(finding.severity), base::printable(finding.detector));
    if (!finding.process.empty()) out += " " + base::printable(finding.process);
    if (!finding.kind.empty()) out += " " + base::printable(finding.kind);
    if (finding.blame != record::Blame::subject) out += " (" + record::to_string(finding.blame) + "'s fault)";
    out += "\n  " + base::printable(finding.title, 1000) + "\n";
    if (!one.course.empty()) out += "  " + base::printable(one.course) + "\n";
    out += "  how sure: " + base::printable(one.confidence) + "\n";
    const std::string evidence = evidence_text(one.evidence, Evidence::full);
    if (!evidence.empty()) out += "  evidence: " + evidence + "\n";
    if (!one.known.empty()) out += "  " + base::printable(one.known, 2000) + "\n";
    if (!finding.replay.empty()) out += "  replay: " + base::printable(finding.replay, 4096) + "\n";
    out += "  fingerprint: " + base::printable(finding.fingerprint) + "\n";
  }
  return out;
}

}  // namespace migsoak::report
