// split-brain: the guest runs on two sides at once, as the daemons (libvirtd) of both say. Two that run write to the
// same disks.
#include <fmt/format.h>

#include "detect/config_documents.h"
#include "detect/daemon_domains.h"
#include "detect/finding_set.h"

namespace migsoak::detect {

namespace {

class SplitBrain final : public FindingSetDetector {
 public:
  explicit SplitBrain(const record::Manifest& manifest) : FindingSetDetector("split-brain"), sides_(manifest.sides) {}

 private:
  void fold(const record::Observation& observation) override {
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

  std::vector<record::SideInfo> sides_;
};

}  // namespace

std::unique_ptr<Detector> make_split_brain(const record::Manifest& manifest) {
  return std::make_unique<SplitBrain>(manifest);
}

}  // namespace migsoak::detect
