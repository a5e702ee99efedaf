#include "record/known_defects.h"

#include <gmock/gmock.h>

#include <set>

#include "base/version.h"

namespace migsoak::record {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(KnownDefects, EachSaysWhatHappensWhereItIsMendedAndTheWayOut) {
  std::set<std::string> names;
  for (const KnownDefect& defect : known_defects()) {
    EXPECT_TRUE(names.insert(defect.name).second) << defect.name;
    EXPECT_TRUE(base::older_version(defect.since, defect.fixed)) << defect.name;
    EXPECT_TRUE(defect.accel == "tcg" || defect.accel == "kvm") << defect.name;
    const std::string told = describe(defect);
    EXPECT_THAT(told, StartsWith("known: QEMU " + defect.since));
    for (const std::string& part : {defect.fixed, defect.what, defect.reference, defect.way_out}) {
      EXPECT_FALSE(part.empty()) << defect.name;
      EXPECT_THAT(told, HasSubstr(part));
    }
  }
}

TEST(KnownDefects, TheLostPageIsMendedInNineAndKvmHasItNot) {
  const auto found = std::find_if(known_defects().begin(), known_defects().end(),
                                  [](const KnownDefect& defect) { return defect.name == "tcg-lost-dirty-page"; });
  ASSERT_NE(found, known_defects().end());
  for (const char* version : {"2.0.0", "5.2.0", "7.2.22", "8.2.10"}) {
    EXPECT_TRUE(has_defect(*found, version, "tcg")) << version;
    EXPECT_FALSE(has_defect(*found, version, "kvm")) << version;
  }
  for (const char* version : {"1.7.2", "9.0.0", "10.0.2", "10.0.13", "11.1.2", "", "unknown"}) {
    EXPECT_FALSE(has_defect(*found, version, "tcg")) << version;
  }
}

}  // namespace
}  // namespace migsoak::record
