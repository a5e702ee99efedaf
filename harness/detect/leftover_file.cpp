// leftover-file: a file, socket or shared-memory object that its owner should have removed.
#include <fmt/format.h>

#include "detect/event_text.h"
#include "detect/finding_set.h"

namespace migsoak::detect {

namespace {

class LeftoverFile final : public FindingSetDetector {
 public:
  LeftoverFile() : FindingSetDetector("leftover-file") {}

 private:
  void fold(const record::Observation& observation) override {
    for (const record::Event& event : observation.events) {
      if (event.kind != kinds::kLeftover) continue;
      const std::string path = detail_text(event, "path");
      const std::string type = detail_text(event, "type");
      // The name without its folder, numbers folded: one finding for a family of names.
      const auto reported =
          found_.report(observation.iteration, event.subject, type.empty() ? "file" : type, file_name_of(path));
      record::Finding& finding = reported.finding;
      if (reported.fresh) {
        finding.title = fmt::format("{} left the {} {} behind ({} bytes) in iteration {}",
                                    event.subject.empty() ? "somebody" : event.subject, finding.kind, path,
                                    detail_int(event, "size_bytes"), observation.iteration);
        finding.evidence["first"] = event.detail;
      }
      base::Json& paths = finding.evidence["paths"];
      if (paths.size() < kIterationsListedMax) paths.push_back(path);
    }
  }
};

}  // namespace

std::unique_ptr<Detector> make_leftover_file(const record::Manifest&) {
  return std::make_unique<LeftoverFile>();
}

}  // namespace migsoak::detect
