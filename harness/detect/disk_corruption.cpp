// disk-corruption: blocks that do not hold what the guest wrote last, and I/O errors that the guest saw.
#include <fmt/format.h>

#include <array>

#include "detect/catalog.h"
#include "detect/event_text.h"
#include "detect/excusals.h"
#include "detect/finding_set.h"
#include "detect/quiet_point.h"

namespace migsoak::detect {

namespace {

constexpr const char* kOrderly = "graceful";  // a restart's `how`
// The worst first: it names the finding.
constexpr std::array<const char*, 6> kTroubles = {"misplaced", "garbage", "lost", "stale", "torn", "io_errors"};

class DiskCorruption final : public FindingSetDetector {
 public:
  explicit DiskCorruption(const record::Manifest& manifest)
      : FindingSetDetector("disk-corruption"), excusals_(manifest, "disk-corruption") {}

  std::vector<record::Exclusion> exclusions() const override { return excusals_.exclusions(); }
  std::uint64_t revision() const override { return found_.revision() + excusals_.revision(); }

 private:
  // How many of an event's I/O errors the scenario declared, a request that is never answered among them. A disk that
  // is gone is no I/O error of a restart.
  std::int64_t declared_errors(const record::Event& event, const std::string& disk) {
    const std::int64_t errors = detail_int(event, "io_errors");
    if (errors <= 0 || base::json_get<bool>(event.detail, "gone", false)) return 0;
    Symptom symptom;
    symptom.kind = Symptom::Kind::io_errors;
    symptom.subject = disk;
    return excusals_.excuse(symptom, errors) ? errors : 0;
  }

  void fold(const record::Observation& observation) override {
    excusals_.begin_iteration(observation);
    for (const record::Event& event : observation.events) {
      if (event.kind != kinds::kDiskCorruption) continue;
      const std::string prefix = "guest:disk:";
      const std::string disk = starts_with(event.subject, prefix) ? event.subject.substr(prefix.size()) : event.subject;
      std::string kind, counts;
      const std::int64_t declared = declared_errors(event, disk);
      for (const char* trouble : kTroubles) {
        const bool io = std::string_view(trouble) == "io_errors";
        const std::int64_t count = detail_int(event, trouble) - (io ? declared : 0);
        if (count <= 0) continue;
        if (kind.empty()) kind = io ? "io-errors" : trouble;
        counts += fmt::format("{}{} {}", counts.empty() ? "" : ", ", count, io ? "I/O errors" : trouble);
      }
      if (kind.empty() && declared > 0) continue;
      if (kind.empty()) kind = "blocks";
      // Device ids are the scenario's names: they stay as they are, "vd0" and "vd1" are two findings. What follows a
      // target's orderly end is one of its own: it may be known of the target and waived, and says nothing of the rest.
      const std::string restart = excusals_.restarts_of(disk);
      const std::string which = disk + ":" + kind + (restart == kOrderly ? ":" + restart : "");
      const auto reported = found_.report(observation.iteration, "guest", which, "");
      if (!reported.fresh) continue;
      record::Finding& finding = reported.finding;
      finding.kind = kind;
      finding.title = fmt::format("disk {} does not hold what the guest wrote, iteration {} ({} to {}): {}", disk,
                                  observation.iteration, observation.plan.source_side,
                                  observation.plan.destination_side, counts.empty() ? event.text : counts);
      finding.evidence["disk"] = disk;
      finding.evidence["device"] = disk;
      finding.evidence["detail"] = event.detail;
      finding.evidence["phase"] = event.phase;
      finding.evidence["from"] = observation.plan.source_side;
      finding.evidence["to"] = observation.plan.destination_side;
      finding.evidence["mode"] = observation.plan.mode;
      if (!restart.empty()) finding.evidence["restart"] = restart;
      put_restarts(finding);
    }
  }

  void put_restarts(record::Finding& finding) const {
    for (const record::ExpectedTrouble& trouble : excusals_.troubles()) {
      if (trouble.declared.cause != record::TroubleCause::restart) continue;
      finding.evidence["restarts"].push_back(trouble.text);
    }
  }

  Excusals excusals_;
};

}  // namespace

std::unique_ptr<Detector> make_disk_corruption(const record::Manifest& manifest) {
  return std::make_unique<DiskCorruption>(manifest);
}

}  // namespace migsoak::detect
