// log-signature: lines of logs and of the guest's console that tell of trouble, by the reviewed catalogue
// (log_signatures.def), less the known-benign ones (known_benign.def).
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <regex>
#include <set>

#include "detect/catalog.h"
#include "detect/causes.h"
#include "detect/event_text.h"
#include "detect/finding_book.h"
#include "detect/planned_restarts.h"
#include "detect/quiet_point.h"

namespace migsoak::detect {

namespace {

constexpr std::size_t kTextsMax = 40;  // different texts that get findings of their own
constexpr const char* kFailedUpgradeWords = "failed-upgrade-words";

struct Benign {
  const KnownBenign* entry;
  std::regex pattern;
  std::int64_t count = 0;
};

class LogSignatureDetector final : public BookDetector {
 public:
  explicit LogSignatureDetector(const record::GatePolicy& gate)
      : BookDetector("log-signature"), words_left_out_(excluded(gate, kFailedUpgradeWords)) {
    for (const char* name : {"restart-io-errors", "restart-cut-connection"}) {
      if (excluded(gate, name)) declared_[name] = 0;
    }
    for (const KnownBenign& entry : known_benign()) {
      if (excluded(gate, entry.name)) benign_.push_back({&entry, std::regex(entry.pattern), 0});
    }
  }

  std::vector<record::Exclusion> exclusions() const override {
    std::vector<record::Exclusion> out;
    for (const Benign& benign : benign_) {
      if (benign.count > 0) out.push_back({benign.entry->name, "log-signature", benign.entry->reason, benign.count});
    }
    for (const auto& [name, count] : declared_) {
      if (count > 0) out.push_back(warm_up_exclusion(name, "log-signature", count));
    }
    if (words_count_ > 0) out.push_back(warm_up_exclusion(kFailedUpgradeWords, "log-signature", words_count_));
    return out;
  }
  std::uint64_t revision() const override { return book_.revision() + exclusion_revision_; }

 private:
  void fold(const record::Observation& observation) override {
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
      ++exclusion_revision_;
      return true;
    }
    return false;
  }

  // What QEMU says of an upgrade that is made to fail.
  bool said_by_plan(const record::Event& event, const LogSignature& signature) {
    const bool words = signature.source == LogSource::migration || signature.name == "failed-to";
    if (!words_left_out_ || !words || event.phase != kinds::kFailedUpgradePhase || !is_qemu(event.subject))
      return false;
    words_count_ += std::max<std::int64_t>(1, detail_int(event, "count", 1));
    ++exclusion_revision_;
    return true;
  }

  // Part of a restart that the plan asked for, as declared?
  bool declared(const record::Observation& observation, const record::Event& event, const LogSignature& signature,
                std::int64_t times) {
    // A queue that is broken for good makes the target give up on its client, and the state does not load.
    const bool broken =
        signature.name == "vu-panic" || signature.name == "failed-to" || signature.source == LogSource::migration;
    const bool seen = signature.name == "guest-io-error" || tells_of_a_broken_queue(event);
    const bool errors =
        (seen && io_errors_declared(observation, {}, "")) || (broken && guest_ended_by_restart(observation));
    if (!errors && !tells_of_a_restart(observation, event)) return false;
    const auto entry = declared_.find(errors ? "restart-io-errors" : "restart-cut-connection");
    if (entry == declared_.end()) return false;
    entry->second += times;
    ++exclusion_revision_;
    return true;
  }

  void take_line(const record::Observation& observation, const record::Event& event, bool console) {
    const std::string line = base::printable(event.text, kLogLineBytesMax);
    const LogSignature* signature = signature_of(line, console);
    if (signature == nullptr || is_told_elsewhere("log-signature", observation, event)) return;
    if (!console && said_by_plan(event, *signature)) return;
    const std::string process = console ? "guest" : event.subject;
    const std::int64_t times = std::max<std::int64_t>(1, detail_int(event, "count", 1));
    if (known(process, line, times) || declared(observation, event, *signature, times)) return;
    // One finding per signature and text; a subject that never repeats itself gets one per signature in the end.
    std::string text = record::normalise_text(line);
    if (texts_.size() >= kTextsMax && texts_.count(text) == 0) {
      text.clear();
    } else {
      texts_.insert(text);
    }
    const std::string kind(signature->name);
    const auto strike = book_.strike(observation.iteration, process, kind, text, times);
    if (!strike.fresh) return;
    strike.finding.title =
        fmt::format("{} said in iteration {}: {} ({})", process, observation.iteration, line, signature->meaning);
    strike.finding.evidence["line"] = line;
    strike.finding.evidence["signature"] = kind;
    strike.finding.evidence["meaning"] = std::string(signature->meaning);
    strike.finding.evidence["phase"] = event.phase;
  }

  void take_flood(const record::Observation& observation, const record::Event& event) {
    const auto strike = book_.strike(observation.iteration, event.subject, "flood", "");
    if (!strike.fresh) return;
    strike.finding.title = fmt::format("{} flooded its output in iteration {}: {} bytes were dropped", event.subject,
                                       observation.iteration, detail_int(event, "bytes_dropped"));
    strike.finding.evidence["detail"] = event.detail;
  }

  std::vector<Benign> benign_;
  std::map<std::string, std::int64_t> declared_;  // names of warm_ups.def in force
  std::set<std::string> texts_;
  const bool words_left_out_;
  std::int64_t words_count_ = 0;
  std::uint64_t exclusion_revision_ = 0;
};

}  // namespace

std::unique_ptr<Detector> make_log_signature(const record::Manifest& manifest) {
  return std::make_unique<LogSignatureDetector>(manifest.gate);
}

}  // namespace migsoak::detect
