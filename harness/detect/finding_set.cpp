#include "detect/finding_set.h"

#include <algorithm>
#include <cassert>

namespace migsoak::detect {

record::Blame blame_of(const std::string& process) {
  return process == "harness" ? record::Blame::harness : record::Blame::subject;
}

FindingSet::Reported FindingSet::report(std::int64_t iteration, const std::string& process, const std::string& kind,
                                        const std::string& text, std::int64_t times) {
  std::string fingerprint = record::fingerprint_of(detector_, process, kind, text);
  std::string shown_kind = kind;
  if (findings_.size() >= kFindingsMax && findings_.count(fingerprint) == 0) {
    fingerprint = record::fingerprint_of(detector_, process, "others");
    shown_kind = "others";
  }
  auto [found, fresh] = findings_.try_emplace(fingerprint);
  record::Finding& finding = found->second;
  if (fresh) {
    finding.detector = detector_;
    finding.blame = blame_of(process);
    finding.process = process;
    finding.kind = shown_kind;
    finding.first_iteration = iteration;
    finding.detected_iteration = iteration;
    finding.count = 0;
    finding.fingerprint = fingerprint;
    finding.evidence = base::Json::object();
  }
  finding.count += times;
  base::Json& listed = finding.evidence["iterations"];
  if (listed.size() < kIterationsListedMax && (listed.empty() || listed.back() != iteration)) {
    listed.push_back(iteration);
  }
  finding.evidence["last_iteration"] = iteration;
  if (std::find(touched_.begin(), touched_.end(), fingerprint) == touched_.end()) touched_.push_back(fingerprint);
  ++revision_;
  return {finding, fresh};
}

record::Finding& FindingSet::find(const std::string& process, const std::string& kind, const std::string& text) {
  auto found = findings_.find(record::fingerprint_of(detector_, process, kind, text));
  if (found == findings_.end()) found = findings_.find(record::fingerprint_of(detector_, process, "others"));
  assert(found != findings_.end());
  return found->second;
}

std::vector<record::Finding> FindingSet::all() const {
  std::vector<record::Finding> out;
  out.reserve(findings_.size());
  for (const auto& [fingerprint, finding] : findings_) out.push_back(finding);
  return out;
}

}  // namespace migsoak::detect
