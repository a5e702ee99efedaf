#include "detect/daemon_domains.h"

#include <algorithm>
#include <utility>

namespace migsoak::detect {

std::string domain_text(const base::Json& domain, const char* key) {
  return base::json_get<std::string>(domain, key, "");
}

bool is_foreign(const base::Json& domain) {
  return !domain_text(domain, "foreign_uuid").empty();
}

const base::Json* DaemonDomains::running() const {
  const auto found = std::find_if(domains.begin(), domains.end(), [](const base::Json& domain) {
    return domain_text(domain, "state") == "running" && !is_foreign(domain);
  });
  return found == domains.end() ? nullptr : &*found;
}

std::optional<DomainsTold> domains_told(const record::Observation& observation) {
  DomainsTold told;
  bool any = false;
  for (const record::Document& document : observation.documents) {
    if (document.kind != record::document_kind::kDomains) continue;
    const base::Json domains = base::json_get<base::Json>(document.content, "domains", {});
    if (!domains.is_array()) continue;
    any = true;
    told.side = document.point == "stayed" ? observation.plan.source_side : observation.plan.destination_side;
    DaemonDomains daemon{document.subject, {}};
    for (const base::Json& domain : domains) {
      if (domain.is_object()) daemon.domains.push_back(domain);
    }
    const std::string::size_type colon = document.subject.find(':');
    if (colon != std::string::npos && document.subject.substr(colon + 1) == told.side) {
      told.own = std::move(daemon);
    } else {
      told.others.push_back(std::move(daemon));
    }
  }
  if (!any) return std::nullopt;
  return told;
}

}  // namespace migsoak::detect
