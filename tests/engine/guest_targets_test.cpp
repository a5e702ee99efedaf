// A guest's targets: which of them is asked, which counts. No process is started.
#include "engine/guest_targets.h"

#include <gmock/gmock.h>

#include "engine/fake_lineage.h"
#include "engine/fake_target.h"

namespace migsoak::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class GuestTargetsTest : public FakeLineage, public ::testing::Test {
 protected:
  GuestTargetsTest()
      : FakeLineage(
            "[[target]]\nname = \"disk0\"\nshare = \"per-side\"\nsize = \"2MiB\"\n"
            "[[device]]\nid = \"vd0\"\ntype = \"vhost-user-blk\"\ntarget = \"disk0\"\n"
            "[[device]]\nid = \"vd1\"\ntype = \"virtio-blk\"\nsize = \"3MiB\"\n"
            "[[device]]\nid = \"net0\"\ntype = \"virtio-net\"\n") {}

  TargetInstance& held(const std::string& side, const std::string& slot = "") {
    TargetInstance& instance = targets_.hold(std::make_unique<FakeTarget>("disk0", side), {side, slot});
    instance.process_id = ++last_id_;
    return instance;
  }
  std::string socket_for(const std::string& side, const std::string& slot) const {
    const auto endpoint = targets_.endpoint_for(*scenario_.find_target("disk0"), "vd0", {side, slot});
    EXPECT_TRUE(endpoint) << endpoint.error().describe();
    return endpoint ? endpoint->socket : "";
  }
  template <typename Instances>
  static std::vector<std::string> names_of(const Instances& instances) {
    std::vector<std::string> names;
    for (const TargetInstance* instance : instances) names.push_back(instance->name);
    return names;
  }

  const LaneContext context_ = context();
  probes::ProbeState probe_state_;
  GuestTargets targets_{context_, 0, probe_state_};
  std::int64_t last_id_ = 0;
};

TEST_F(GuestTargetsTest, AQemuMeetsTheOneThatServesItsSide) {
  held("a");
  held("b");
  EXPECT_EQ(socket_for("a", "0"), "/disk0a");
  EXPECT_EQ(socket_for("b", "1"), "/disk0b");
}

TEST_F(GuestTargetsTest, OneThatServesASingleVmIsMetByNoOther) {
  held("a", "0");
  EXPECT_EQ(socket_for("a", "0"), "/disk0a");
  EXPECT_NE(socket_for("a", "1"), "/disk0a");
}

TEST_F(GuestTargetsTest, WhereOneWillBeIsKnownBeforeItIsThere) {
  EXPECT_TRUE(socket_for("a", "0").starts_with(context_.run_dir + "/")) << socket_for("a", "0");
  EXPECT_NE(socket_for("a", "0"), socket_for("a", "1"));
}

TEST_F(GuestTargetsTest, ALostOneIsKeptAndNoMoreLookedAt) {
  TargetInstance& lost = held("a");
  held("b");
  EXPECT_FALSE(targets_.any_lost());
  lost.lost = true;
  EXPECT_TRUE(targets_.any_lost());
  EXPECT_THAT(targets_.all(), SizeIs(2));
  EXPECT_THAT(names_of(targets_.live()), ElementsAre("target:disk0@b"));
  EXPECT_THAT(names_of(targets_.live_of("disk0")), ElementsAre("target:disk0@b"));
  EXPECT_THAT(targets_.live_of("disk1"), IsEmpty());
  record::Observation observation;
  record::Journal journal(observation);
  targets_.sample(journal);
  ASSERT_THAT(observation.samples, SizeIs(1));
  EXPECT_EQ(observation.samples[0].subject, "target:disk0@b");
  EXPECT_EQ(observation.samples[0].metric, "target.requests");
  EXPECT_EQ(observation.samples[0].value, 7);
}

TEST_F(GuestTargetsTest, AnEndIsNoNewsOfALostOneOrOfOneThatRestarts) {
  const auto ended = [this](const std::string& side) -> TargetInstance& {
    TargetInstance& instance = held(side);
    (void)instance.target->stop(std::chrono::milliseconds(0));
    return instance;
  };
  ended("a").lost = true;
  ended("b").restarting = true;
  EXPECT_FALSE(targets_.any_ended());
  EXPECT_THAT(targets_.ended(), IsEmpty());
  ended("c");
  EXPECT_THAT(names_of(targets_.ended()), ElementsAre("target:disk0@c"));
}

TEST_F(GuestTargetsTest, OneIsFoundByNameAndByProcess) {
  held("a");
  const TargetInstance& b = held("b");
  EXPECT_EQ(targets_.find("target:disk0@b"), &b);
  EXPECT_EQ(targets_.find(b.process_id), &b);
  EXPECT_EQ(targets_.find("target:disk0"), nullptr);
  EXPECT_EQ(targets_.find(99), nullptr);
}

TEST_F(GuestTargetsTest, ThoseOfASlotAreForgottenTogether) {
  held("a");
  held("a", "0");
  held("b", "1").lost = true;
  EXPECT_THAT(names_of(targets_.live_in("0")), ElementsAre("target:disk0@a"));
  EXPECT_THAT(targets_.live_in("1"), IsEmpty());
  targets_.forget("0");
  targets_.forget("1");
  ASSERT_THAT(targets_.all(), SizeIs(1));
  EXPECT_EQ(targets_.all().front().place, (TargetPlace{"a", ""}));
}

TEST_F(GuestTargetsTest, AThirdQemuNeedsRoomAtEachSharedOne) {
  const auto without_room = [this](const std::string& slot) {
    auto target = std::make_unique<FakeTarget>("disk0", "a");
    target->set_spare_slots(false);
    targets_.hold(std::move(target), {"a", slot});
  };
  EXPECT_TRUE(targets_.have_spare_slots());
  held("a");
  without_room("0");  // the third one has a target of its own
  EXPECT_TRUE(targets_.have_spare_slots());
  without_room("");
  EXPECT_FALSE(targets_.have_spare_slots());
}

TEST_F(GuestTargetsTest, ImagesAreMadeForDisksAndGoWithTheirOwner) {
  namespace fs = std::filesystem;
  const std::string of_target = context_.run_dir + "/vd0.img", of_qemu = context_.run_dir + "/vd1.img";
  {
    DiskImages images(context_.run_dir);
    ASSERT_TRUE(images.make(scenario_));
    EXPECT_THAT(images.paths(), ElementsAre(of_target, of_qemu));
    EXPECT_EQ(fs::file_size(of_target), 2U << 20);
    EXPECT_EQ(fs::file_size(of_qemu), 3U << 20);
  }
  EXPECT_FALSE(fs::exists(of_target));
  EXPECT_FALSE(fs::exists(of_qemu));
  const auto made = DiskImages(context_.run_dir + "/none").make(scenario_);
  ASSERT_FALSE(made);
  EXPECT_THAT(made.error().describe(), ::testing::HasSubstr(context_.run_dir + "/none/vd0.img"));
}

}  // namespace
}  // namespace migsoak::engine
