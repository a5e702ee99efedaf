// Entries on disk: what they are called, what is found, what a broken one does.
#include "fleet_fixture.h"

namespace migsoak::fleet {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class Entries : public FleetTest {
 protected:
  static std::vector<std::string> names() {
    const auto all = builds();
    std::vector<std::string> found;
    if (!all) return {all.error().describe()};
    for (const Build& build : *all) found.push_back(build.name);
    return found;
  }
  static std::string found(const std::string& word) {
    const auto build = find(word);
    if (!build) return "refused: " + build.error().message;
    return *build ? (*build)->id : "none";
  }
};

TEST_F(Entries, AnEmptyFleet) {
  EXPECT_THAT(names(), IsEmpty());
  EXPECT_EQ(found("qemu-7.2"), "none");
}

TEST_F(Entries, ShortNamesWhereTheyAreUnique) {
  put_entry("qemu-10.0.13", "10.0.13", "debian:trixie");
  put_entry("qemu-5.2", "5.2.0", "debian:bullseye");
  EXPECT_THAT(names(), ElementsAre("qemu-5.2", "qemu-10.0"));
  put_entry("qemu-10.0.2", "10.0.2", "debian:bookworm-backports");
  put_entry("qemu-11.1.2", "11.1.2", "debian:forky");
  put_entry("mine", "9.9.0", "");
  EXPECT_THAT(names(), ElementsAre("qemu-5.2", "mine", "qemu-10.0.2", "qemu-10.0.13", "qemu-11.1"));
}

TEST_F(Entries, AWordIsANameAnIdASuiteOrAVersionPrefix) {
  put_entry("qemu-10.0.2", "10.0.2", "debian:bookworm-backports");
  put_entry("qemu-10.0.13", "10.0.13", "debian:trixie");
  put_entry("qemu-11.1.2", "11.1.2", "debian:forky");
  put_entry("mine", "11.1.50", "");
  EXPECT_EQ(found("qemu-11.1"), "qemu-11.1.2");
  EXPECT_EQ(found("qemu-11"), "qemu-11.1.2");
  EXPECT_EQ(found("qemu-11.1.2"), "qemu-11.1.2");
  EXPECT_EQ(found("debian:trixie"), "qemu-10.0.13");
  EXPECT_EQ(found("mine"), "mine");
  EXPECT_EQ(found("qemu-10.0.1"), "none");  // a prefix ends at a dot
  EXPECT_EQ(found("debian:sid"), "none");
  EXPECT_EQ(found("qemu-10.0"), "refused: 'qemu-10.0' can mean qemu-10.0.2 or qemu-10.0.13: which one?");
}

TEST_F(Entries, AnOwnBuildKeepsItsNameFromBeingGivenTwice) {
  put_entry("qemu-11.1", "9.0.0", "");
  put_entry("qemu-11.1.2", "11.1.2", "debian:forky");
  EXPECT_THAT(names(), ElementsAre("qemu-11.1", "qemu-11.1.2"));
  EXPECT_EQ(found("qemu-11.1"), "qemu-11.1");
}

TEST_F(Entries, WhatCannotBeReadIsToldAndLeftOut) {
  put_entry("qemu-5.2", "5.2.0", "debian:bullseye");
  put_entry("gone", "9.0.0", "");
  std::filesystem::remove(fleet() / "gone/tree/qemu");
  put_entry("torn", "9.0.0", "");
  std::ofstream(fleet() / "torn/entry.json") << "{\"id\":";
  std::filesystem::create_directories(fleet() / ".new-abc");
  std::vector<std::string> troubles;
  const auto all = builds(&troubles);
  ASSERT_TRUE(all.has_value());
  ASSERT_EQ(all->size(), 1U);
  EXPECT_THAT(troubles, testing::UnorderedElementsAre(HasSubstr("gone: its binary is gone"), HasSubstr("torn: ")));
  // Told with the way out, which works.
  EXPECT_THAT(troubles.front(), HasSubstr("migsoak fleet remove"));
  EXPECT_TRUE(remove(host(), "torn", soon()).has_value());
  EXPECT_TRUE(remove(host(), "gone", soon()).has_value());
  EXPECT_THAT(folders(), ElementsAre("qemu-5.2"));  // .new-abc, of a killed `fleet add`, was swept with them
}

TEST_F(Entries, RemovingWhatIsNotThere) {
  put_entry("qemu-5.2", "5.2.0", "debian:bullseye");
  for (const std::string word : {"qemu-5.3", "../fleet", ".", ".lock", "", "debian:trixie"}) {
    const auto removed = remove(host(), word, soon());
    ASSERT_FALSE(removed.has_value()) << word;
    EXPECT_EQ(removed.error().kind, base::ErrorKind::bad_input);
    EXPECT_THAT(removed.error().message, HasSubstr("there are: qemu-5.2"));
  }
  EXPECT_THAT(remove(host(), "qemu-5.3", soon()).error().message, HasSubstr("did you mean 'qemu-5.2'"));
  EXPECT_THAT(folders(), ElementsAre("qemu-5.2"));
  EXPECT_TRUE(remove(host(), "debian:bullseye", soon()).has_value());
  EXPECT_THAT(folders(), IsEmpty());
}

TEST_F(Entries, AChangedBinaryIsSeen) {
  put_entry("mine", "9.0.0", "");
  const auto before = builds();
  ASSERT_TRUE(before.has_value());
  EXPECT_FALSE(before->front().stale);
  std::ofstream(fleet() / "mine/tree/qemu", std::ios::app) << ", and changed";
  const auto after = builds();
  ASSERT_TRUE(after.has_value());
  EXPECT_TRUE(after->front().stale);
}

TEST(BuildJson, ComesBackAsItWent) {
  Build build;
  build.name = "qemu-11.1";
  build.id = "qemu-11.1.2";
  build.suite = "debian:forky";
  build.package_version = "1:11.1.2+ds-3";
  build.version = "11.1.2";
  build.binary = "/x/qemu";
  build.args = {"-L", "/x/share"};
  build.env = {{"QEMU_MODULE_DIR", "/x/lib"}};
  build.machines = {{"pc-i440fx-11.1", "pc", false, true}, {"pc-i440fx-5.2", "", true, false}};
  build.devices = {{"virtio-blk-pci", "PCI", "virtio-blk"}, {"pc-dimm", "", ""}};
  build.modes = {"normal", "cpr-exec"};
  build.capabilities = {"multifd"};
  build.stamp = "1:2";
  const auto again = build_from_json(to_json(build));
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(to_json(*again), to_json(build));
  EXPECT_TRUE(again->has_device("virtio-blk"));
  EXPECT_TRUE(again->has_device("pc-dimm"));
  EXPECT_FALSE(again->has_device(""));
  EXPECT_TRUE(again->has_mode("cpr-exec"));
  EXPECT_TRUE(again->at_least(11, 1));
  EXPECT_TRUE(again->at_least(9, 2));
  EXPECT_FALSE(again->at_least(11, 2));
  EXPECT_FALSE(build_from_json(base::Json::array()).has_value());
  EXPECT_FALSE(build_from_json(base::Json{{"version", 7}, {"env", "x"}, {"machines", "y"}}).has_value());
}

}  // namespace
}  // namespace migsoak::fleet
