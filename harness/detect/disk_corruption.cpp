// disk-corruption: blocks that do not hold what the guest wrote last, and I/O errors that the guest saw.
#include <fmt/format.h>

#include <array>

#include "detect/event_text.h"
#include "detect/finding_book.h"
#include "detect/quiet_point.h"

namespace migsoak::detect {

namespace {

// The worst first: it names the finding.
constexpr std::array<const char*, 6> kTroubles = {"misplaced", "garbage", "lost", "stale", "torn", "io_errors"};

class DiskCorruption final : public BookDetector {
 public:
  DiskCorruption() : BookDetector("disk-corruption") {}

 private:
  void fold(const record::Observation& observation) override {
    for (const record::Event& event : observation.events) {
      if (event.kind != kinds::kDiskCorruption) continue;
      const std::string prefix = "guest:disk:";
      const std::string disk = starts_with(event.subject, prefix) ? event.subject.substr(prefix.size()) : event.subject;
      std::string kind, counts;
      for (const char* trouble : kTroubles) {
        const std::int64_t count = detail_int(event, trouble);
        if (count <= 0) continue;
        const bool io = std::string_view(trouble) == "io_errors";
        if (kind.empty()) kind = io ? "io-errors" : trouble;
        counts += fmt::format("{}{} {}", counts.empty() ? "" : ", ", count, io ? "I/O errors" : trouble);
      }
      if (kind.empty()) kind = "blocks";
      // Device ids are the scenario's names: they stay as they are, "vd0" and "vd1" are two findings.
      const auto strike = book_.strike(observation.iteration, "guest", disk + ":" + kind, "");
      if (!strike.fresh) continue;
      record::Finding& finding = strike.finding;
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
    }
  }
};

}  // namespace

std::unique_ptr<Detector> make_disk_corruption(const record::Manifest&) {
  return std::make_unique<DiskCorruption>();
}

}  // namespace migsoak::detect
