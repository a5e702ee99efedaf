// disk-corruption: blocks that do not hold what the guest wrote last, and I/O errors that the guest saw.
#include <fmt/format.h>

#include <array>

#include "detect/catalog.h"
#include "detect/event_text.h"
#include "detect/finding_book.h"
#include "detect/planned_restarts.h"
#include "detect/quiet_point.h"

namespace migsoak::detect {

namespace {

// The worst first: it names the finding.
constexpr std::array<const char*, 6> kTroubles = {"misplaced", "garbage", "lost", "stale", "torn", "io_errors"};

class DiskCorruption final : public BookDetector {
 public:
  explicit DiskCorruption(const record::Manifest& manifest)
      : BookDetector("disk-corruption"),
        targets_(manifest.targets),
        leaves_out_declared_(excluded(manifest.gate, "restart-io-errors")) {}

  std::vector<record::Exclusion> exclusions() const override {
    if (declared_ == 0) return {};
    return {warm_up_exclusion("restart-io-errors", "disk-corruption", declared_)};
  }
  std::uint64_t revision() const override { return book_.revision() + static_cast<std::uint64_t>(declared_); }

 private:
  // How many of an event's I/O errors the scenario declared, a request that is never answered among them. A disk that
  // is gone is no I/O error of a restart.
  std::int64_t declared_errors(const record::Observation& observation, const record::Event& event,
                               const std::string& disk) const {
    if (!leaves_out_declared_ || base::json_get<bool>(event.detail, "gone", false)) return 0;
    return io_errors_declared(observation, targets_, disk) ? detail_int(event, "io_errors") : 0;
  }

  void fold(const record::Observation& observation) override {
    for (const record::Event& event : observation.events) {
      if (event.kind != kinds::kDiskCorruption) continue;
      const std::string prefix = "guest:disk:";
      const std::string disk = starts_with(event.subject, prefix) ? event.subject.substr(prefix.size()) : event.subject;
      std::string kind, counts;
      const std::int64_t declared = declared_errors(observation, event, disk);
      declared_ += declared;
      for (const char* trouble : kTroubles) {
        const bool io = std::string_view(trouble) == "io_errors";
        const std::int64_t count = detail_int(event, trouble) - (io ? declared : 0);
        if (count <= 0) continue;
        if (kind.empty()) kind = io ? "io-errors" : trouble;
        counts += fmt::format("{}{} {}", counts.empty() ? "" : ", ", count, io ? "I/O errors" : trouble);
      }
      if (kind.empty() && declared > 0) continue;
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
      put_restarts(observation, finding);
    }
  }

  static void put_restarts(const record::Observation& observation, record::Finding& finding) {
    for (const record::Event& other : observation.events) {
      if (other.kind == kinds::kTargetRestart) finding.evidence["restarts"].push_back(other.text);
    }
  }

  std::vector<record::TargetInfo> targets_;
  bool leaves_out_declared_;
  std::int64_t declared_ = 0;
};

}  // namespace

std::unique_ptr<Detector> make_disk_corruption(const record::Manifest& manifest) {
  return std::make_unique<DiskCorruption>(manifest);
}

}  // namespace migsoak::detect
