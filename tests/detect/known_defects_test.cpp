// What a guest suffers in a build with a known defect is told so, and is a failure as before.
#include <gmock/gmock.h>

#include "detect/causes.h"
#include "record/known_defects.h"
#include "soak_model.h"

namespace migsoak::detect {
namespace {

using namespace testing;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;
namespace kinds = record::event_kind;

record::Manifest manifest_of(const std::string& version_a, const std::string& version_b,
                             const base::Json& environment = {{"accel", "tcg"}}) {
  record::Manifest m = manifest();
  m.sides = {{"a", "qemu-system-x86_64", version_a}, {"b", "other", version_b}};
  m.environment = environment;
  return m;
}

std::vector<record::Finding> findings_of(const record::Event& trouble, record::Manifest m) {
  return judged(
      4,
      [&](record::Observation& o, Soak&) {
        if (o.iteration != 2) return;
        o.events.push_back(trouble);
        o.status = record::IterationStatus::lost;
      },
      std::move(m));
}

std::vector<record::Event> guest_troubles() {
  return {event(kinds::kGuestCorruption, "guest", "", {{"pages_bad", 1}, {"pages_stale", 1}}),
          event(kinds::kGuestPanic, "guest", "Kernel panic - not syncing: Fatal exception"),
          event(kinds::kDiskCorruption, "guest:disk:vd0", "", {{"stale", 1}}),
          event(kinds::kHang, "guest", "", {{"waiting_for", "heartbeat of the guest"}}),
          event(kinds::kProtocolError, "guest", "heartbeat out of order"),
          event(kinds::kGuestLost, "guest", "", {{"why", "no heartbeat"}})};
}

TEST(KnownDefectsOfBuilds, ExplainWhatTheGuestSufferedAndLowerNothing) {
  for (const record::Event& trouble : guest_troubles()) {
    const auto told = findings_of(trouble, manifest_of("7.2.22", "11.1.2"));
    const auto plain = findings_of(trouble, manifest_of("11.1.2", "11.1.2"));
    ASSERT_FALSE(told.empty()) << trouble.kind;
    ASSERT_EQ(told.size(), plain.size()) << trouble.kind;
    for (std::size_t i = 0; i < told.size(); ++i) {
      ASSERT_TRUE(told[i].evidence.contains("known")) << trouble.kind << " " << told[i].detector;
      EXPECT_EQ(told[i].evidence["known"]["defect"], "tcg-lost-dirty-page");
      EXPECT_EQ(told[i].evidence["known"]["sides"], base::Json({{"a", "7.2.22"}}));
      EXPECT_THAT(told[i].evidence["known"]["text"].get<std::string>(),
                  AllOf(StartsWith("known: "), HasSubstr("03bfc2188f06"), HasSubstr("use KVM, QEMU 9.0 or later")));
      EXPECT_FALSE(plain[i].evidence.contains("known")) << plain[i].detector;
      EXPECT_EQ(told[i].severity, record::Severity::fail);
      EXPECT_EQ(told[i].blame, plain[i].blame);
      EXPECT_EQ(told[i].title, plain[i].title);
      EXPECT_EQ(told[i].fingerprint, plain[i].fingerprint);
    }
  }
}

TEST(KnownDefectsOfBuilds, AreNotToldWhereTheyCanNotBe) {
  const record::Event panic = guest_troubles()[1];
  const std::vector<std::pair<const char*, record::Manifest>> cases = {
      {"KVM", manifest_of("7.2.22", "7.2.22", {{"accel", "kvm"}})},
      {"an accelerator that nobody noted", manifest_of("7.2.22", "7.2.22", base::Json::object())},
      {"no version", manifest_of("", "")},
      {"avoided", manifest_of("7.2.22", "7.2.22", {{"accel", "tcg"}, {"avoided_defects", {"tcg-lost-dirty-page"}}})}};
  for (const auto& [what, m] : cases) {
    const auto findings = findings_of(panic, m);
    ASSERT_FALSE(findings.empty()) << what;
    for (const record::Finding& finding : findings) EXPECT_FALSE(finding.evidence.contains("known")) << what;
  }
  for (const record::Finding& finding :
       findings_of(event(kinds::kUnexpectedExit, "qemu:a", "", {{"signal", 11}}), manifest_of("7.2.22", "7.2.22"))) {
    EXPECT_TRUE(finding.process == "guest" || !finding.evidence.contains("known")) << finding.title;
  }
}

// A leak that was seen to run dry explains more.
TEST(KnownDefectsOfBuilds, StandBackBehindAProvenCause) {
  std::vector<record::Finding> findings(2);
  findings[0].detector = findings[1].detector = "guest-corruption";
  findings[0].process = findings[1].process = "guest";
  findings[0].evidence["cause"] = {{"detector", "fd-leak"}};
  explain_causes(manifest_of("7.2.22", "7.2.22"), findings);
  EXPECT_FALSE(findings[0].evidence.contains("known"));
  EXPECT_TRUE(findings[1].evidence.contains("known"));
}

}  // namespace
}  // namespace migsoak::detect
