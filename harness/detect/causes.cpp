#include "detect/causes.h"

#include <algorithm>

namespace migsoak::detect {

#define CAUSE(suffix, name, summary) \
  std::optional<Cause> cause_##suffix(const CauseContext& context, const record::Finding& finding);
#define TOLD(suffix, name, silent, teller, reason) \
  bool told_##suffix(const record::Observation& observation, const record::Event& event);
#include "detect/causes.def"
#undef CAUSE
#undef TOLD

const std::vector<CauseRule>& cause_rules() {
  static const std::vector<CauseRule> kTable = {
#define CAUSE(suffix, name, summary) {name, summary, &cause_##suffix},
#define TOLD(suffix, name, silent, teller, reason)
#include "detect/causes.def"
#undef CAUSE
#undef TOLD
  };
  return kTable;
}

const std::vector<ToldRule>& told_rules() {
  static const std::vector<ToldRule> kTable = {
#define CAUSE(suffix, name, summary)
#define TOLD(suffix, name, silent, teller, reason) {name, silent, teller, reason, &told_##suffix},
#include "detect/causes.def"
#undef CAUSE
#undef TOLD
  };
  return kTable;
}

void explain_causes(const record::Manifest& manifest, std::vector<record::Finding>& findings) {
  const CauseContext context{manifest, findings};
  for (const CauseRule& rule : cause_rules()) {
    for (record::Finding& finding : findings) {
      const std::optional<Cause> cause = rule.explain(context, finding);
      if (!cause) continue;
      if (cause->finding) {
        const record::Finding& by = findings[*cause->finding];
        finding.evidence["cause"] = {{"detector", by.detector},
                                     {"fingerprint", by.fingerprint},
                                     {"title", by.title},
                                     {"iteration", cause->iteration}};
      }
      finding.title += cause->words;
      finding.evidence.update(cause->evidence);
      for (const auto& [other, evidence] : cause->others) findings[other].evidence.update(evidence);
    }
  }
}

bool is_told_elsewhere(std::string_view detector, const record::Observation& observation, const record::Event& event) {
  return std::any_of(told_rules().begin(), told_rules().end(),
                     [&](const ToldRule& rule) { return rule.silent == detector && rule.holds(observation, event); });
}

}  // namespace migsoak::detect
