// The scenarios that plug and unplug, as they ship: what they are to find is found, and nothing on a clean pair.
#include <cstdlib>
#include <regex>

#include "run_migsoak.h"
#include "store/store.h"

namespace migsoak::integration {

namespace {

using testing::AllOf;
using testing::HasSubstr;

class HotplugRuns : public MigsoakTest {
 protected:
  Outcome run(const std::string& name, const std::vector<std::string>& sets) const {
    std::vector<std::string> arguments = {"run", std::string(MIGSOAK_SOURCE_DIR) + "/scenarios/" + name + ".toml",
                                          "--db", db()};
    for (const std::string& set : sets) arguments.insert(arguments.end(), {"--set", set});
    return migsoak(arguments);
  }
  std::string db() const { return path("r.db"); }
};

// Events of a clean iteration are recorded as they happen, a lineage's boot before all others.
std::vector<std::string> events_before_their_predecessor(const std::string& db) {
  std::vector<std::string> out;
  const auto database = store::Store::open(db);
  EXPECT_TRUE(database);
  if (!database) return out;
  const auto read =
      (*database)->for_each_observation([&out](const record::Observation& observation) -> base::Result<void> {
        double last_ms = 0;
        for (const record::Event& event : observation.events) {
          if (event.at_ms < last_ms) out.push_back(std::to_string(observation.iteration) + ": " + event.kind);
          last_ms = event.at_ms;
        }
        return {};
      });
  EXPECT_TRUE(read);
  return out;
}

// The titles of a detector's findings of one kind.
std::vector<std::string> titles(const base::Json& all, const std::string& detector, const std::string& kind) {
  std::vector<std::string> out;
  for (const base::Json& finding : all["findings"]) {
    if (finding.value("detector", "") == detector && finding.value("kind", "") == kind) {
      out.push_back(finding.value("title", ""));
    }
  }
  return out;
}

TEST_F(HotplugRuns, ConfigSpaceDiscardIsRefusedAndDecoded) {
  const Outcome outcome = run("config-space-discard", {});
  EXPECT_EQ(outcome.status, 1) << describe(outcome);
  const base::Json all = findings(db());
  EXPECT_THAT(titles(all, "config-space-drift", "refused"),
              testing::Contains(AllOf(HasSubstr("vb1 (virtio-blk, 0000:00:05.0), old to new"),
                                      HasSubstr("BAR0 I/O: source 0x40 bytes at 0x1040, destination 0x80 bytes"),
                                      HasSubstr("bit 6 is not writable there"), HasSubstr("property discard"))))
      << all.dump(2);
  EXPECT_THAT(titles(all, "config-space-drift", "silent"), testing::Contains(HasSubstr("vb0"))) << all.dump(2);
  EXPECT_THAT(titles(all, "migration-failure", "config-space"), testing::SizeIs(1)) << all.dump(2);
}

TEST_F(HotplugRuns, ConfigSpaceDiscardIsFoundWhenItPasses) {
  const Outcome outcome = run("config-space-discard", {"hotplug.sweep=1", "iterations=3"});
  EXPECT_EQ(outcome.status, 1) << describe(outcome);
  const base::Json all = findings(db());
  EXPECT_EQ(all.value("iterations", 0), 3);
  EXPECT_THAT(titles(all, "config-space-drift", "silent"),
              testing::Contains(AllOf(HasSubstr("BAR0 I/O: source 0x40 bytes at 0x1000, destination 0x80 bytes"),
                                      HasSubstr("the load passed silently"), HasSubstr("property discard"))))
      << all.dump(2);
  for (const base::Json& finding : all["findings"]) {
    EXPECT_EQ(finding.value("detector", ""), "config-space-drift") << finding.dump(2);
    EXPECT_EQ(finding.value("kind", ""), "silent") << finding.dump(2);
  }
}

TEST_F(HotplugRuns, EqualPropertiesAreQuiet) {
  const Outcome outcome = run("config-space-discard", {"hotplug.on.old.virtio-blk.discard=true",
                                                       "hotplug.on.old.virtio-blk.write-zeroes=true"});
  EXPECT_EQ(outcome.status, 0) << describe(outcome);
  const base::Json all = findings(db());
  EXPECT_EQ(all.value("iterations", 0), 6);
  EXPECT_TRUE(all["findings"].empty()) << all.dump(2);
}

// The same through libvirt, where a disk is attached without a word of the feature: compat foretells what the run
// meets.
TEST_F(HotplugRuns, ThroughLibvirtTheDefaultsOfTheBuildsAreRefusedAndDecoded) {
  if (const std::string why = missing_libvirt(); !why.empty()) GTEST_SKIP() << why;
  const Outcome foretold =
      migsoak({"compat", "--from", "qemu-system-x86_64", "--to", "qemu-system-x86_64", "--machine", "pc",
               "--device-from", "virtio-blk-pci,discard=off,write-zeroes=off", "--device-to", "virtio-blk-pci"});
  EXPECT_THAT(foretold.out, AllOf(HasSubstr("incompatible"), HasSubstr("BAR0"), HasSubstr("0x40")));
  const Outcome outcome = run("libvirt-config-space", {});
  EXPECT_EQ(outcome.status, 1) << describe(outcome);
  const base::Json all = findings(db());
  EXPECT_THAT(titles(all, "config-space-drift", "refused"),
              testing::ElementsAre(AllOf(HasSubstr("vb1 (virtio-blk, 0000:00:05.0), old to new"),
                                         HasSubstr("BAR0 I/O: source 0x40 bytes at 0x1040, destination 0x80 bytes"),
                                         HasSubstr("bit 6 is not writable there"))))
      << all.dump(2);
  EXPECT_THAT(titles(all, "config-space-drift", "silent"),
              testing::Contains(AllOf(HasSubstr("vb0 (virtio-blk, 0000:00:04.0), old to new"),
                                      HasSubstr("BAR0 I/O: source 0x40 bytes at 0x1000, destination 0x80 bytes"),
                                      HasSubstr("the load passed silently"))))
      << all.dump(2);
  EXPECT_THAT(titles(all, "qtree-drift", "property-changed"), testing::Contains(HasSubstr("vb0 on qemu:new: discard")));
  EXPECT_THAT(titles(all, "migration-failure", "config-space"), testing::SizeIs(1)) << all.dump(2);
  for (const base::Json& finding : all["findings"]) EXPECT_EQ(finding.value("blame", ""), "subject") << finding.dump(2);
}

TEST_F(HotplugRuns, ThroughLibvirtEqualDefaultsAreQuiet) {
  if (const std::string why = missing_libvirt(); !why.empty()) GTEST_SKIP() << why;
  const Outcome outcome =
      run("libvirt-config-space", {"side.new.extra_args=[\"-global\", \"virtio-blk-pci.discard=off\", \"-global\", "
                                   "\"virtio-blk-pci.write-zeroes=off\"]"});
  EXPECT_EQ(outcome.status, 0) << describe(outcome);
  const base::Json all = findings(db());
  EXPECT_EQ(all.value("iterations", 0), 6);
  EXPECT_TRUE(all["findings"].empty()) << all.dump(2);
}

// A lineage on pc and one on q35.
TEST_F(HotplugRuns, PingPongIsQuietAndConfirmed) {
  const Outcome outcome = run("hotplug-pingpong", {"run.lineage=6", "iterations=12"});
  EXPECT_EQ(outcome.status, 0) << describe(outcome);
  const base::Json all = findings(db());
  EXPECT_EQ(all.value("verdict", ""), "pass");
  EXPECT_EQ(all.value("iterations", 0), 12);
  EXPECT_TRUE(all["findings"].empty()) << all.dump(2);
  const std::string report = migsoak({"report", db()}).out;
  std::smatch counts;
  ASSERT_TRUE(std::regex_search(report, counts, std::regex("(\\d+) operations confirmed by the guest, (\\d+) not")))
      << report;
  EXPECT_GE(std::atoi(counts[1].str().c_str()), 30) << report;
  EXPECT_EQ(counts[2].str(), "0") << report;
  EXPECT_THAT(events_before_their_predecessor(db()), testing::IsEmpty());
}

}  // namespace
}  // namespace migsoak::integration
