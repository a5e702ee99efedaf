#include "report/finding_index.h"

namespace migsoak::report {

FindingIndex::FindingIndex(const std::vector<record::Finding>& findings) {
  for (std::size_t i = 0; i < findings.size(); ++i) {
    const record::Finding& finding = findings[i];
    std::set<std::int64_t> named;
    if (finding.first_iteration) named.insert(*finding.first_iteration);
    if (finding.detected_iteration) named.insert(*finding.detected_iteration);
    const base::Json listed = base::json_get(finding.evidence, "iterations", base::Json::array());
    if (listed.is_array()) {
      for (const base::Json& iteration : listed) {
        if (iteration.is_number_integer()) named.insert(iteration.get<std::int64_t>());
      }
    }
    named.insert(base::json_get<std::int64_t>(finding.evidence, "refused_in_iteration", -1));
    for (const std::int64_t iteration : named) by_iteration_[iteration].push_back(i);
    const auto last = base::json_get<std::int64_t>(finding.evidence, "last_iteration", -1);
    if (!finding.first_iteration || last < 0) continue;
    spans_.push_back({i, *finding.first_iteration, last, base::json_get<std::string>(finding.evidence, "from", ""),
                      base::json_get<std::string>(finding.evidence, "to", "")});
  }
}

const std::vector<std::size_t>& FindingIndex::naming(std::int64_t iteration) const {
  static const std::vector<std::size_t> kNone;
  const auto found = by_iteration_.find(iteration);
  return found != by_iteration_.end() ? found->second : kNone;
}

std::set<std::size_t> FindingIndex::explaining(const store::Store::IterationRow& row) const {
  const std::vector<std::size_t>& named = naming(row.iteration);
  std::set<std::size_t> why(named.begin(), named.end());
  if (!why.empty()) return why;
  for (const Span& span : spans_) {
    if (row.iteration < span.first || row.iteration > span.last || span.to != row.destination) continue;
    if (span.from.empty() || span.from == row.source) why.insert(span.finding);
  }
  return why;
}

}  // namespace migsoak::report
