// A lane that works through its queue, over VMs without a process.
#include "engine/lane.h"

#include <gmock/gmock.h>

#include "engine/fake_lineage.h"

namespace migsoak::engine {
namespace {

using fake_vm::Answer;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class LaneTest : public FakeLineage, public ::testing::Test {
 protected:
  LaneTest() { scenario_.raise_early = true; }
  void run(const LaneOptions& options) {
    WorkQueue work({{0, scenario_.iterations}}, scenario_.lineage_iterations, 1);
    const auto artifacts = store::Artifacts::create(directory_.file("logs")).value();
    Progress progress(false, "fake", 0, scenario_.iterations);
    run_lane(context(), options, work, token_, artifacts, progress);
    missing_ = work.missing();
  }
  static LaneOptions options(bool stop_on_finding) {
    return {stop_on_finding, base::Deadline::in(std::chrono::hours(1))};
  }
  // The VM that has the guest crashes when it is told to migrate for the n-th time. It is the newest on its side, as
  // the fake wants it, where none is raised early.
  void crash_at_migration(int n) {
    scenario_.raise_early = false;
    fake_->on_command([this, n](const std::string& side, const std::string& command) {
      if (command == "migrate" && ++migrations_ == n) fake_->end_soon(side, {-1, 11, true});
      return Answer::as_ever;
    });
  }

  StopToken token_;
  std::int64_t missing_ = 0;
  int migrations_ = 0;
};

TEST_F(LaneTest, DoesAllThatIsInTheQueueWithOneGuest) {
  run(options(false));
  EXPECT_EQ(missing_, 0);
  EXPECT_FALSE(token_.asked());
  EXPECT_EQ(recorder_->finished(), 10);
  EXPECT_EQ(recorder_->verdict(), record::Verdict::pass);
  EXPECT_THAT(recorder_->findings(), IsEmpty());
  EXPECT_EQ(fake_->started(), 11U);
  EXPECT_FALSE(fake_->guest_runs()) << "nothing is left";
}

TEST_F(LaneTest, BootsAGuestForEachLineage) {
  scenario_.lineage_iterations = 3;
  run(options(false));
  EXPECT_EQ(missing_, 0);
  EXPECT_EQ(fake_->started(), 14U) << "10 destinations, 4 boots";
  EXPECT_EQ(recorder_->verdict(), record::Verdict::pass);
}

TEST_F(LaneTest, StopsWhenItsGuestIsLost) {
  crash_at_migration(4);
  run(options(false));
  EXPECT_EQ(recorder_->finished(), 4);
  EXPECT_EQ(missing_, 6);
  EXPECT_THAT(token_.stopped_because(), HasSubstr("lost"));
  EXPECT_EQ(recorder_->verdict(), record::Verdict::fail);
}

TEST_F(LaneTest, GoesOnWithAnotherGuestWhereTheScenarioSaysSo) {
  scenario_.on_loss = scenario::OnLoss::new_lineage;
  crash_at_migration(4);
  run(options(false));
  EXPECT_EQ(missing_, 0);
  EXPECT_EQ(recorder_->finished(), 10);
  EXPECT_EQ(recorder_->verdict(), record::Verdict::fail);
}

TEST_F(LaneTest, StopsAtTheFirstFindingWhenItIsTold) {
  fake_->corrupt_guest();
  run(options(true));
  EXPECT_EQ(recorder_->finished(), 1);
  EXPECT_THAT(token_.stopped_because(), HasSubstr("--stop-on-finding"));
}

TEST_F(LaneTest, EndsAfterTheIterationThatTheUserStoppedItIn) {
  fake_->on_command([this](const std::string&, const std::string& command) {
    if (command == "migrate" && ++migrations_ == 2) stop_.raise();
    return Answer::as_ever;
  });
  run(options(false));
  EXPECT_TRUE(token_.interrupted());
  EXPECT_EQ(recorder_->finished(), 2);
  EXPECT_EQ(missing_, 8);
}

}  // namespace
}  // namespace migsoak::engine
