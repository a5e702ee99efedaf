// log-signature: lines of logs and of the guest's console that tell of trouble, by the reviewed catalogue
// (log_signatures.def), less the known-benign ones (known_benign.def).
#include <fmt/format.h>

#include <algorithm>
#include <regex>
#include <set>

#include "detect/catalog.h"
#include "detect/causes.h"
#include "detect/event_text.h"
#include "detect/excusals.h"
#include "detect/finding_set.h"
#include "detect/quiet_point.h"

namespace migsoak::detect {

namespace {

constexpr std::size_t kTextsMax = 40;  // different texts that get findings of their own

struct Benign {
  const KnownBenign* entry;
  std::regex pattern;
  std::int64_t count = 0;
};

class LogSignatureDetector final : public FindingSetDetector {
 public:
  explicit LogSignatureDetector(const record::Manifest& manifest)
      : FindingSetDetector("log-signature"), excusals_(manifest, "log-signature") {
    for (const KnownBenign& entry : known_benign()) {
      if (excluded(manifest.gate, entry.name)) benign_.push_back({&entry, std::regex(entry.pattern), 0});
    }
  }

  std::vector<record::Exclusion> exclusions() const override {
    std::vector<record::Exclusion> out = excusals_.exclusions();
    for (const Benign& benign : benign_) {
      if (benign.count > 0) out.push_back({benign.entry->name, "log-signature", benign.entry->reason, benign.count});
    }
    return out;
  }
  std::uint64_t revision() const override { return found_.revision() + excusals_.revision() + benign_revision_; }

 private:
  void fold(const record::Observation& observation) override {
    excusals_.begin_iteration(observation);
    for (const record::Event& event : observation.events) {
      if (event.kind == kinds::kLogLine) take_line(observation, event, false);
      if (event.kind == kinds::kConsoleLine) take_line(observation, event, true);
      if (event.kind == kinds::kOutputFlood) take_flood(observation, event);
    }
  }

  bool known(const std::string& process, const std::string& line, std::int64_t times) {
    for (Benign& benign : benign_) {
      if (!starts_with(process, benign.entry->subject_prefix) || !std::regex_search(line, benign.pattern)) continue;
      benign.count += times;
      ++benign_revision_;
      return true;
    }
    return false;
  }

  void take_line(const record::Observation& observation, const record::Event& event, bool console) {
    const std::string line = base::printable(event.text, kLogLineBytesMax);
    const LogSignature* signature = signature_of(line, console);
    if (signature == nullptr || is_told_elsewhere("log-signature", observation, event)) return;
    const std::string process = console ? "guest" : event.subject;
    const std::int64_t times = std::max<std::int64_t>(1, detail_int(event, "count", 1));
    if (known(process, line, times)) return;
    Symptom symptom;
    symptom.kind = console ? Symptom::Kind::console_line : Symptom::Kind::log_line;
    symptom.subject = process;
    symptom.phase = event.phase;
    symptom.which = signature->name;
    symptom.migration_words = signature->source == LogSource::migration;
    symptom.text = event.text;
    if (excusals_.excuse(symptom, times)) return;
    // One finding per signature and text; a subject that never repeats itself gets one per signature in the end.
    std::string text = record::normalise_text(line);
    if (texts_.size() >= kTextsMax && texts_.count(text) == 0) {
      text.clear();
    } else {
      texts_.insert(text);
    }
    const std::string kind(signature->name);
    const auto reported = found_.report(observation.iteration, process, kind, text, times);
    if (!reported.fresh) return;
    reported.finding.title =
        fmt::format("{} said in iteration {}: {} ({})", process, observation.iteration, line, signature->meaning);
    reported.finding.evidence["line"] = line;
    reported.finding.evidence["signature"] = kind;
    reported.finding.evidence["meaning"] = std::string(signature->meaning);
    reported.finding.evidence["phase"] = event.phase;
  }

  void take_flood(const record::Observation& observation, const record::Event& event) {
    const auto reported = found_.report(observation.iteration, event.subject, "flood", "");
    if (!reported.fresh) return;
    reported.finding.title = fmt::format("{} flooded its output in iteration {}: {} bytes were dropped", event.subject,
                                         observation.iteration, detail_int(event, "bytes_dropped"));
    reported.finding.evidence["detail"] = event.detail;
  }

  std::vector<Benign> benign_;
  Excusals excusals_;
  std::set<std::string> texts_;
  std::uint64_t benign_revision_ = 0;
};

}  // namespace

std::unique_ptr<Detector> make_log_signature(const record::Manifest& manifest) {
  return std::make_unique<LogSignatureDetector>(manifest);
}

}  // namespace migsoak::detect
