// Internal to detect: what a driver's daemons (libvirtd) said that they have, from the documents that the record holds.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "record/observation.h"

namespace migsoak::detect {

// One daemon, and the domains that it told of (record::document_kind::kDomains).
struct DaemonDomains {
  std::string daemon;  // "libvirtd:a"
  std::vector<base::Json> domains;
  // The guest's that runs; null: none.
  const base::Json* running() const;
};

// After the migration of an iteration, or where it failed.
struct DomainsTold {
  std::string side;                  // where the guest is
  std::optional<DaemonDomains> own;  // that side's; null: not read
  std::vector<DaemonDomains> others;
};

// Null: no daemon was asked, or none could be read.
std::optional<DomainsTold> domains_told(const record::Observation& observation);

// Somebody else has made it: it is not the guest's, whatever its name.
bool is_foreign(const base::Json& domain);

// Of a domain; empty when it is not there, or no text.
std::string domain_text(const base::Json& domain, const char* key);

}  // namespace migsoak::detect
