// One machine type for all builds of a guest's way, or the reason why there is none.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fleet/fleet.h"

namespace migsoak::fleet {
namespace {

using testing::AllOf;
using testing::HasSubstr;

Build with_machines(const std::string& name, const std::vector<std::string>& versions) {
  Build build;
  build.name = name;
  for (const std::string& version : versions) {
    const bool newest = version == versions.back();
    build.machines.push_back({"pc-i440fx-" + version, newest ? "pc" : "", false, newest});
    build.machines.push_back({"pc-q35-" + version, newest ? "q35" : "", false, false});
  }
  build.machines.push_back({"microvm", "", false, false});
  return build;
}

const Build& old_build() {
  static const Build build = with_machines("qemu-5.2", {"2.4", "4.2", "5.1", "5.2"});
  return build;
}
const Build& middle_build() {
  static const Build build = with_machines("qemu-7.2", {"2.4", "4.2", "5.1", "5.2", "6.0", "7.2"});
  return build;
}
// 10.0 is newer than 9.2, though the text sorts before it.
const Build& new_build() {
  static const Build build = with_machines("qemu-11.1", {"5.1", "5.2", "6.0", "7.2", "9.2", "10.0", "11.1"});
  return build;
}

std::string chosen(const std::vector<Build>& builds, const std::string& wanted) {
  const auto machine = choose_machine(builds, wanted);
  return machine ? *machine : "refused: " + machine.error().describe();
}

TEST(MachineChoice, TheNewestThatAllKnow) {
  EXPECT_EQ(chosen({old_build(), new_build()}, "pc"), "pc-i440fx-5.2");
  EXPECT_EQ(chosen({new_build(), old_build()}, "pc"), "pc-i440fx-5.2");
  EXPECT_EQ(chosen({middle_build(), new_build()}, "q35"), "pc-q35-7.2");
  EXPECT_EQ(chosen({old_build(), middle_build(), new_build()}, "q35"), "pc-q35-5.2");
  EXPECT_EQ(chosen({new_build()}, "pc"), "pc-i440fx-11.1");
  EXPECT_EQ(chosen({new_build(), new_build()}, "q35,kernel-irqchip=off"), "pc-q35-11.1,kernel-irqchip=off");
}

TEST(MachineChoice, AVersionIsComparedAsNumbers) {
  const Build ten = with_machines("qemu-10.0.2", {"9.2", "10.0"});
  EXPECT_EQ(chosen({ten, new_build()}, "pc"), "pc-i440fx-10.0");
}

TEST(MachineChoice, ATypeWithoutVersionsIsItself) {
  EXPECT_EQ(chosen({old_build(), new_build()}, "microvm"), "microvm");
  EXPECT_EQ(chosen({old_build(), new_build()}, "pc-i440fx-5.1"), "pc-i440fx-5.1");
}

TEST(MachineChoice, AVersionThatOneLacksIsRefusedWithTheReason) {
  const auto refused = choose_machine({old_build(), new_build()}, "pc-q35-7.2");
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().kind, base::ErrorKind::bad_input);
  EXPECT_EQ(
      refused.error().message,
      "qemu-5.2 has no machine type 'pc-q35-7.2': qemu-5.2 has pc-q35-2.4 to pc-q35-5.2, qemu-11.1 has pc-q35-5.1 "
      "to pc-q35-11.1; the newest that all know is pc-q35-5.2");
}

TEST(MachineChoice, NothingInCommonIsRefusedWithBothRanges) {
  const Build future = with_machines("mine", {"12.0", "12.1"});
  const auto refused = choose_machine({old_build(), future}, "q35");
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().kind, base::ErrorKind::bad_input);
  EXPECT_EQ(refused.error().message,
            "no versioned machine type for 'q35' that all builds know: qemu-5.2 has pc-q35-2.4 to pc-q35-5.2, mine has "
            "pc-q35-12.0 to pc-q35-12.1");
}

TEST(MachineChoice, AMisspelledTypeNamesTheNearest) {
  EXPECT_THAT(chosen({old_build()}, "q36"), AllOf(HasSubstr("no machine type 'q36'"), HasSubstr("did you mean 'q35'")));
  EXPECT_THAT(chosen({old_build()}, "microvn"), HasSubstr("did you mean 'microvm'"));
  EXPECT_FALSE(choose_machine({}, "pc").has_value());
}

}  // namespace
}  // namespace migsoak::fleet
