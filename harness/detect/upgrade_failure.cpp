// upgrade-failure: a guest that did not survive an upgrade, or not as it was (case 3 of cases.md). Of an upgrade that
// the plan has fail: the guest is lost, damaged, or can't migrate afterwards. Of a hot upgrade that should have worked:
// the guest is lost. That a planned failure fails is no finding: it is counted as an exclusion.
#include <fmt/format.h>

#include "detect/catalog.h"
#include "detect/config_documents.h"
#include "detect/event_text.h"
#include "detect/excusals.h"
#include "detect/finding_set.h"
#include "detect/quiet_point.h"

namespace migsoak::detect {

namespace {

constexpr std::size_t kLinesListedMax = 12;

struct Outcome {
  std::string kind;   // "lost" "unknown" "damaged" "stuck" "survived"
  std::string words;  // what became of the guest
};

Outcome outcome_of(const record::Observation& observation, const record::ExpectedTrouble& attempt) {
  const bool gone = observation.status == record::IterationStatus::lost;
  if (attempt.fate == "lost") return {"lost", "the guest is lost"};
  if (attempt.fate != "source" && attempt.fate != "destination") {
    return {"unknown", "nobody can say what became of the guest"};
  }
  if (!attempt.intact.value_or(true)) {
    return {"damaged", "the guest runs and is no longer what it was"};
  }
  if (!attempt.migrates.value_or(!gone)) {
    return {"stuck", gone ? "the guest lived, and was lost in the migration that followed"
                          : "the guest runs and could not be migrated afterwards"};
  }
  return {"survived", "the guest lives, as it has to"};
}

class UpgradeFailure final : public FindingSetDetector {
 public:
  explicit UpgradeFailure(const record::Manifest& manifest)
      : FindingSetDetector("upgrade-failure"), sides_(manifest.sides), excusals_(manifest, "upgrade-failure") {}

  std::vector<record::Exclusion> exclusions() const override { return excusals_.exclusions(); }
  std::uint64_t revision() const override { return found_.revision() + excusals_.revision(); }

 private:
  void fold(const record::Observation& observation) override;
  // False: it went as planned.
  bool take_attempt(const record::Observation& observation, const record::ExpectedTrouble& attempt);
  void take_loss(const record::Observation& observation);
  std::string build_words(const std::string& side) const;
  record::Finding* report(const record::Observation& observation, const std::string& failure, const std::string& what,
                          const std::string& title);

  std::vector<record::SideInfo> sides_;
  Excusals excusals_;
};

std::string UpgradeFailure::build_words(const std::string& side) const {
  const std::string build = side_build(sides_, side);
  return build.empty() ? side : fmt::format("{} (QEMU {})", side, build);
}

// Null when it is not the first of its kind.
record::Finding* UpgradeFailure::report(const record::Observation& observation, const std::string& failure,
                                        const std::string& what, const std::string& title) {
  const record::Plan& plan = observation.plan;
  const std::string kind = fmt::format("{}:{}:{}", plan.mode, failure, what);
  const std::string builds = side_build(sides_, plan.source_side) + " to " + side_build(sides_, plan.destination_side);
  const auto reported = found_.report(observation.iteration, "qemu:" + plan.destination_side, kind, unfolded(builds));
  if (!reported.fresh) return nullptr;
  reported.finding.title = title;
  reported.finding.evidence["mode"] = plan.mode;
  reported.finding.evidence["phase"] = observation.phase;
  put_pair(reported.finding.evidence, plan, sides_);
  return &reported.finding;
}

bool UpgradeFailure::take_attempt(const record::Observation& observation, const record::ExpectedTrouble& attempt) {
  const Outcome outcome = outcome_of(observation, attempt);
  Symptom symptom;
  symptom.of = &attempt;
  if (outcome.kind == "survived" && excusals_.excuse(symptom)) return false;
  const record::Plan& plan = observation.plan;
  const std::string& failure = attempt.declared.what;
  const std::string& error = attempt.why;
  record::Finding* finding =
      report(observation, failure, outcome.kind,
             fmt::format("after an upgrade from {} to {} by {} that failed ({}) in iteration {}, {}{}",
                         build_words(plan.source_side), build_words(plan.destination_side), plan.mode, failure,
                         observation.iteration, outcome.words, error.empty() ? "" : ": " + error));
  if (finding == nullptr) return true;
  finding->evidence["failure"] = failure;
  finding->evidence["fate"] = attempt.fate;
  if (!error.empty()) finding->evidence["error"] = error;
  finding->evidence["detail"] = detail_of_trouble(observation, attempt.declared.cause);
  return true;
}

// Of the events that tell of the loss, the first says why; what the new side said comes along.
void UpgradeFailure::take_loss(const record::Observation& observation) {
  std::string why;
  base::Json lines = base::Json::array();
  for (const record::Event& event : observation.events) {
    for (const char* kind : {kinds::kMigrationFailed, kinds::kUnexpectedExit, kinds::kHang, kinds::kGuestPanic,
                             kinds::kGuestCorruption, kinds::kGuestLost}) {
      if (event.kind != kind) continue;
      if (why.empty()) why = base::printable(event.text);
      if (lines.size() < kLinesListedMax) lines.push_back(event.subject + ": " + base::printable(event.text));
    }
    if (event.kind == kinds::kLogLine && is_qemu(event.subject) && lines.size() < kLinesListedMax) {
      lines.push_back(event.subject + ": " + base::printable(event.text));
    }
  }
  const record::Plan& plan = observation.plan;
  record::Finding* finding =
      report(observation, "unprovoked", "lost",
             fmt::format("the upgrade from {} to {} by {} lost the guest in iteration {}: {}",
                         build_words(plan.source_side), build_words(plan.destination_side), plan.mode,
                         observation.iteration, why.empty() ? "nothing says why" : why));
  if (finding == nullptr) return;
  finding->evidence["fate"] = "lost";
  if (!why.empty()) finding->evidence["error"] = why;
  finding->evidence["lines"] = lines;
}

void UpgradeFailure::fold(const record::Observation& observation) {
  bool told = false;
  excusals_.begin_iteration(observation);
  for (const record::ExpectedTrouble& trouble : excusals_.troubles()) {
    if (trouble.declared.cause != record::TroubleCause::upgrade_failure) continue;
    told = take_attempt(observation, trouble) || told;
  }
  const bool hot_upgrade = starts_with(observation.plan.mode, "cpr-");
  const bool lost = observation.status == record::IterationStatus::lost && observation.phase != "boot";
  const bool declared = record::declares(observation.plan, record::outcome::kLost);
  // A target's end takes the guest with it: told by crash.
  const bool by_target = a_target_ended(observation) || has_event(observation, kinds::kTargetLost);
  if (hot_upgrade && lost && !told && !declared && !by_target) take_loss(observation);
}

}  // namespace

std::unique_ptr<Detector> make_upgrade_failure(const record::Manifest& manifest) {
  return std::make_unique<UpgradeFailure>(manifest);
}

}  // namespace migsoak::detect
