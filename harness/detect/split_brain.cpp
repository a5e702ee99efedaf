// split-brain: the guest runs on two sides at once, as the daemons (libvirtd) of both say, or as it is heard. Two that
// run write to the same disks.
#include <fmt/format.h>

#include "detect/causes.h"
#include "detect/config_documents.h"
#include "detect/daemon_domains.h"
#include "detect/event_text.h"
#include "detect/finding_set.h"

namespace migsoak::detect {

namespace {

class SplitBrain final : public FindingSetDetector {
 public:
  explicit SplitBrain(const record::Manifest& manifest) : FindingSetDetector("split-brain"), sides_(manifest.sides) {}

 private:
  void fold(const record::Observation& observation) override {
    take_heartbeats(observation);
    const std::optional<DomainsTold> told = domains_told(observation);
    if (!told || !told->own || told->own->running() == nullptr) return;
    for (const DaemonDomains& other : told->others) {
      if (other.running() == nullptr) continue;
      const std::string name = domain_text(*other.running(), "name");
      const auto reported = found_.report(observation.iteration, other.daemon, "two-running", unfolded(name));
      if (!reported.fresh) continue;
      record::Finding& finding = reported.finding;
      finding.title = fmt::format("{} and {} both have the domain {} running, after the migration of iteration {}",
                                  other.daemon, told->own->daemon, name, observation.iteration);
      finding.evidence["domain"] = name;
      finding.evidence["guest_on"] = told->side;
      finding.evidence["mode"] = observation.plan.mode;
      put_pair(finding.evidence, observation.plan, sides_);
    }
  }

  // libvirt starts the guest at the destination, the daemon ends before it has said so, and the other goes on with the
  // guest that it still has.
  void take_heartbeats(const record::Observation& observation) {
    for (const record::Event& event : observation.events) {
      if (!is_heard_from_both(observation, event)) continue;
      const auto reported = found_.report(observation.iteration, "guest", "heard-from-both", "");
      if (!reported.fresh) continue;
      record::Finding& finding = reported.finding;
      finding.title = fmt::format(
          "the guest ran on {} and on {} when a libvirtd had ended in the middle of iteration {}'s migration",
          observation.plan.source_side, observation.plan.destination_side, observation.iteration);
      finding.evidence["line"] = base::printable(event.text);
      finding.evidence["mode"] = observation.plan.mode;
      put_pair(finding.evidence, observation.plan, sides_);
    }
  }

  std::vector<record::SideInfo> sides_;
};

}  // namespace

std::unique_ptr<Detector> make_split_brain(const record::Manifest& manifest) {
  return std::make_unique<SplitBrain>(manifest);
}

}  // namespace migsoak::detect
