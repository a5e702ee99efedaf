// xml-drift: what a driver's daemons (libvirtd) say that they have, against where the guest is and what the plan gave
// it. A domain that was left behind, that is kept on disk unasked or is not although asked, that is missing or not
// running, that nobody asked for; a device of the guest that its domain's XML lacks, or has unasked. What QEMU itself
// has is compared with the plan by qtree-drift.
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <set>

#include "detect/config_documents.h"
#include "detect/daemon_domains.h"
#include "detect/event_text.h"
#include "detect/finding_set.h"

namespace migsoak::detect {

namespace {

class XmlDrift final : public FindingSetDetector {
 public:
  explicit XmlDrift(const record::Manifest& manifest) : FindingSetDetector("xml-drift"), sides_(manifest.sides) {}

 private:
  void fold(const record::Observation& observation) override {
    note_definitions(observation);
    const std::optional<DomainsTold> told = domains_told(observation);
    if (!told) return;
    if (told->own) compare_own(observation, *told);
    for (const DaemonDomains& other : told->others) compare_other(observation, *told, other);
    if (told->own) take_foreign(observation, *told->own);
    for (const DaemonDomains& other : told->others) take_foreign(observation, other);
  }
  void note_definitions(const record::Observation& observation);
  void compare_own(const record::Observation& observation, const DomainsTold& told);
  void compare_devices(const record::Observation& observation, const DomainsTold& told, const base::Json& domain);
  void compare_other(const record::Observation& observation, const DomainsTold& told, const DaemonDomains& other);
  void take_foreign(const record::Observation& observation, const DaemonDomains& daemon);
  void report(const record::Observation& observation, const std::string& process, const char* kind,
              const std::string& identity, const std::string& what, const base::Json& evidence,
              record::Blame blame = record::Blame::subject);

  std::vector<record::SideInfo> sides_;
  DocumentCache documents_;
  std::int64_t lineage_ = -1;
  std::set<std::string> defined_;  // daemons that were asked to keep a definition of the guest, here or not
};

// A definition goes with the flag, or before the guest comes back to where one is; a guest has its daemons to itself.
void XmlDrift::note_definitions(const record::Observation& observation) {
  if (observation.lineage != lineage_) {
    lineage_ = observation.lineage;
    defined_.clear();
  }
  const record::Plan& plan = observation.plan;
  if (!plan.libvirt || observation.status != record::IterationStatus::completed) return;
  const auto has = [&plan](const char* flag) {
    const std::vector<std::string>& flags = plan.libvirt->flags;
    return std::find(flags.begin(), flags.end(), flag) != flags.end();
  };
  const std::string from = "libvirtd:" + plan.source_side, to = "libvirtd:" + plan.destination_side;
  if (has("undefine-source")) defined_.erase(from);
  if (has("persist-dest")) {
    defined_.insert(to);
  } else {
    defined_.erase(to);
  }
}

void XmlDrift::compare_own(const record::Observation& observation, const DomainsTold& told) {
  const DaemonDomains& own = *told.own;
  if (std::all_of(own.domains.begin(), own.domains.end(), is_foreign)) {
    return report(observation, own.daemon, "domain-missing", "",
                  fmt::format("{} knows no domain, while the guest is on {}", own.daemon, told.side), {});
  }
  const base::Json* domain = own.running();
  if (domain == nullptr) {
    const base::Json& first = *std::find_if_not(own.domains.begin(), own.domains.end(), is_foreign);
    return report(observation, own.daemon, "domain-state", domain_text(first, "state"),
                  fmt::format("{} says that the domain {} is {}, while the guest runs in it", own.daemon,
                              domain_text(first, "name"), domain_text(first, "state")),
                  {{"domain", domain_text(first, "name")}, {"state", domain_text(first, "state")}});
  }
  const bool persistent = base::json_get<bool>(*domain, "persistent", false);
  if (persistent != (defined_.count(own.daemon) > 0) && observation.status == record::IterationStatus::completed) {
    report(observation, own.daemon, persistent ? "domain-defined" : "domain-undefined", "",
           fmt::format("{} has {} definition of the domain {}, which runs there", own.daemon,
                       persistent ? "kept a" : "no", domain_text(*domain, "name")),
           {{"domain", domain_text(*domain, "name")}, {"persistent", persistent}});
  }
  for (const base::Json& other : own.domains) {
    if (&other == domain || is_foreign(other)) continue;
    report(observation, own.daemon, "domain-extra", unfolded(domain_text(other, "name")),
           fmt::format("{} has the domain {} ({}), for which nobody asked", own.daemon, domain_text(other, "name"),
                       domain_text(other, "state")),
           {{"domain", domain_text(other, "name")}, {"state", domain_text(other, "state")}});
  }
  compare_devices(observation, told, *domain);
}

// The set that the guest has where it is now.
void XmlDrift::compare_devices(const record::Observation& observation, const DomainsTold& told,
                               const base::Json& domain) {
  const bool arrived = told.side == observation.plan.destination_side;
  const SideDocuments side = documents_.at(observation, arrived ? "destination" : "source");
  if (side.device_set->empty()) return;
  std::set<std::string> wanted, has;
  for (const base::Json& device : *side.device_set) wanted.insert(domain_text(device, "id"));
  for (const base::Json& name : base::json_get<base::Json>(domain, "devices", base::Json::array())) {
    if (name.is_string()) has.insert(name.get<std::string>());
  }
  for (const std::string& id : wanted) {
    if (has.count(id) > 0) continue;
    report(observation, told.own->daemon, "device-missing", unfolded(id),
           fmt::format("the XML of {} lacks {}, which the guest has", told.own->daemon, id),
           {{"device", id}, {"type", domain_text(side.device(id), "type")}});
  }
  for (const std::string& id : has) {
    if (wanted.count(id) > 0) continue;
    report(observation, told.own->daemon, "device-extra", unfolded(id),
           fmt::format("the XML of {} has {}, which the guest should not have", told.own->daemon, id),
           {{"device", id}});
  }
}

// One that runs on both is more than left behind: split-brain has that.
void XmlDrift::compare_other(const record::Observation& observation, const DomainsTold& told,
                             const DaemonDomains& other) {
  const bool runs = told.own && told.own->running() != nullptr;
  for (const base::Json& domain : other.domains) {
    if (is_foreign(domain) || (runs && &domain == other.running())) continue;
    const bool persistent = base::json_get<bool>(domain, "persistent", false);
    if (persistent && domain_text(domain, "state") == "shut off" && defined_.count(other.daemon) > 0) continue;
    const std::string name = domain_text(domain, "name"), state = domain_text(domain, "state");
    report(
        observation, other.daemon, "domain-left", unfolded(name + ' ' + state),
        fmt::format("{} still has the domain {} ({}), while the guest is on {}", other.daemon, name, state, told.side),
        {{"domain", name}, {"state", state}, {"persistent", persistent}, {"guest_on", told.side}});
  }
}

// Nobody but the run has business with its daemons; a domain there takes the guest's name, or its host's room.
void XmlDrift::take_foreign(const record::Observation& observation, const DaemonDomains& daemon) {
  for (const base::Json& domain : daemon.domains) {
    if (!is_foreign(domain)) continue;
    const std::string name = domain_text(domain, "name"), uuid = domain_text(domain, "foreign_uuid");
    report(observation, daemon.daemon, "domain-foreign", unfolded(name),
           fmt::format("{} has a domain {} ({}) that is none of the run's (UUID {})", daemon.daemon, name,
                       domain_text(domain, "state"), uuid),
           {{"domain", name}, {"state", domain_text(domain, "state")}, {"uuid", uuid}}, record::Blame::environment);
  }
}

void XmlDrift::report(const record::Observation& observation, const std::string& process, const char* kind,
                      const std::string& identity, const std::string& what, const base::Json& evidence,
                      record::Blame blame) {
  const auto reported = found_.report(observation.iteration, process, kind, identity);
  if (!reported.fresh) return;
  reported.finding.blame = blame;
  reported.finding.title = fmt::format("{}, after the migration of iteration {}", what, observation.iteration);
  if (evidence.is_object()) reported.finding.evidence.update(evidence);
  reported.finding.evidence["mode"] = observation.plan.mode;
  put_pair(reported.finding.evidence, observation.plan, sides_);
}

}  // namespace

std::unique_ptr<Detector> make_xml_drift(const record::Manifest& manifest) {
  return std::make_unique<XmlDrift>(manifest);
}

}  // namespace migsoak::detect
