#include "hypervisor/libvirt_domains.h"

#include <pugixml.hpp>

#include <algorithm>
#include <cstdlib>
#include <set>
#include <utility>
#include <vector>

#include "base/text.h"
#include "hypervisor/libvirt_call.h"
#include "hypervisor/libvirt_xml.h"

namespace migsoak::hypervisor {
using base::ErrorKind;

namespace {

// A private daemon has one domain; what is beyond these is told as a number.
constexpr int kDomainsMax = 16;
constexpr std::size_t kNamesMax = 1000;
constexpr std::size_t kNameMax = 200;

std::string state_name(int state) {
  switch (state) {
    case VIR_DOMAIN_RUNNING: return "running";
    case VIR_DOMAIN_BLOCKED: return "blocked";
    case VIR_DOMAIN_PAUSED: return "paused";
    case VIR_DOMAIN_SHUTDOWN: return "shutting down";
    case VIR_DOMAIN_SHUTOFF: return "shut off";
    case VIR_DOMAIN_CRASHED: return "crashed";
    case VIR_DOMAIN_PMSUSPENDED: return "suspended";
    default: return "state " + std::to_string(state);
  }
}

base::Result<base::Json> describe(virDomainPtr domain, const std::string& guest_uuid) {
  base::Json entry{{"name", base::printable(virDomainGetName(domain), kNameMax)}};
  if (const std::string uuid = uuid_of(domain); uuid != guest_uuid) entry["foreign_uuid"] = uuid;
  int state = 0, reason = 0;
  if (virDomainGetState(domain, &state, &reason, 0) != 0) return libvirt_error("state of a domain");
  const int persistent = virDomainIsPersistent(domain);
  if (persistent < 0) return libvirt_error("persistence of a domain");
  MIGSOAK_ASSIGN(const std::string xml, xml_of(domain));
  MIGSOAK_ASSIGN(entry["devices"], device_names_in(xml));
  entry["state"] = state_name(state);
  entry["persistent"] = persistent == 1;
  return entry;
}

struct Listed {
  virDomainPtr* domains = nullptr;
  int count = 0;
  ~Listed() {
    for (int i = 0; i < count; ++i) virDomainFree(domains[i]);
    std::free(domains);
  }
};

}  // namespace

base::Result<base::Json> domains_of(virConnectPtr connection, const std::string& guest_uuid) {
  Listed listed;
  const int count = virConnectListAllDomains(connection, &listed.domains, 0);
  if (count < 0) return libvirt_error("list of domains");
  listed.count = count;
  std::vector<base::Json> entries;
  for (int i = 0; i < std::min(count, kDomainsMax); ++i) {
    MIGSOAK_ASSIGN(base::Json entry, describe(listed.domains[i], guest_uuid));
    entries.push_back(std::move(entry));
  }
  // The daemon has them in no order.
  std::sort(entries.begin(), entries.end(),
            [](const base::Json& one, const base::Json& other) { return one["name"] < other["name"]; });
  return base::Json{{"domains", entries}, {"count", count}};
}

base::Result<base::Json> device_names_in(const std::string& xml) {
  pugi::xml_document document;
  if (const pugi::xml_parse_result parsed = document.load_string(xml.c_str()); !parsed) {
    return base::fail(ErrorKind::subject, std::string("XML of a domain: ") + parsed.description());
  }
  const std::string prefix = libvirt_device_id("");
  std::set<std::string> names;
  for (const pugi::xml_node device : document.child("domain").child("devices").children()) {
    const std::string alias = device.child("alias").attribute("name").value();
    if (alias.rfind(prefix, 0) != 0 || names.size() >= kNamesMax) continue;
    names.insert(base::printable(alias.substr(prefix.size()), kNameMax));
  }
  return base::Json(names);
}

}  // namespace migsoak::hypervisor
