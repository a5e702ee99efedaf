// Plugs and unplugs of an iteration, over VMs without a process: what QEMU and the guest make of them, what goes on
// record, and what the guest is said to have afterwards.
#include "engine/operations.h"

#include <gmock/gmock.h>

#include <csignal>
#include <string>
#include <vector>

#include "engine/fake_lineage.h"

namespace migsoak::engine {
namespace {

using fake_vm::Answer;
using fake_vm::LettingGo;
using record::IterationStatus;
using record::PlannedOperation;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

const char* const kHotplugOfGuest = "hotplug guest";

// The guest boots on "a", goes to "b", and then on to "a" with the operations that a test has planned.
class OperationsTest : public FakeLineage, public ::testing::Test {
 protected:
  OperationsTest() { EXPECT_EQ(iterate().status, IterationStatus::completed); }

  record::Observation iterate_with(const std::string& action, const std::string& timing, StepHook* hook = nullptr) {
    adjust_ = [=](record::Plan& plan) { plan.operations = {{"virtio-rng", action, timing, "vr0", "", "0x5"}}; };
    record::Observation observation = iterate("precopy", hook);
    adjust_ = nullptr;
    return observation;
  }
  // The guest has it before the test begins, and stands on "b" again.
  void plug_before() {
    ASSERT_EQ(result_of(iterate_with("plug", "settled")), "done");
    ASSERT_EQ(iterate().status, IterationStatus::completed);
    ASSERT_EQ(fake_->guest_side(), "b");
  }
  static std::string result_of(const record::Observation& observation) {
    const record::Event* event = event_of(observation, record::event_kind::kHotplug);
    return event != nullptr ? base::json_get<std::string>(event->detail, "result", "") : "";
  }
  static bool confirmed(const record::Observation& observation) {
    const record::Event* event = event_of(observation, record::event_kind::kHotplug);
    return event != nullptr && base::json_get<bool>(event->detail, "confirmed", false);
  }
  static std::string error_of(const record::Observation& observation) {
    const record::Event* event = event_of(observation, record::event_kind::kHotplug);
    return event != nullptr ? base::json_get<std::string>(event->detail, "error", "") : "";
  }
  // Of `command`; on that side.
  void refuse(const std::string& side, const std::string& command) {
    fake_->on_command([=](const std::string& asked, const std::string& what) {
      return asked == side && what == command ? Answer::refuse : Answer::as_ever;
    });
  }
  // What `what` does, it does when the guest is asked to let go of its device.
  void at_unplug(std::function<void()> what) {
    fake_->on_command([what = std::move(what)](const std::string&, const std::string& command) {
      if (command == "device_del") what();
      return Answer::as_ever;
    });
  }
  bool guest_has_it() const { return !lineage_->devices().empty(); }
};

TEST_F(OperationsTest, APlugIsConfirmedByTheGuestAndTravelsWithIt) {
  const record::Observation observation = iterate_with("plug", "settled");
  EXPECT_EQ(observation.status, IterationStatus::completed);
  EXPECT_THAT(events_of(observation), ElementsAre(kHotplugOfGuest));
  EXPECT_EQ(result_of(observation), "done");
  EXPECT_TRUE(confirmed(observation));
  ASSERT_THAT(lineage_->current()->machine->spec().devices, SizeIs(1)) << "the destination was started with it";
  EXPECT_EQ(lineage_->current()->machine->spec().devices[0].address, "0x5");
  EXPECT_THAT(findings_of(observation), IsEmpty());
}

TEST_F(OperationsTest, AnUnplugTakesItFromTheGuestAndFromTheDestination) {
  plug_before();
  const record::Observation observation = iterate_with("unplug", "settled");
  EXPECT_EQ(observation.status, IterationStatus::completed);
  EXPECT_EQ(result_of(observation), "done");
  EXPECT_TRUE(confirmed(observation));
  EXPECT_FALSE(guest_has_it());
  EXPECT_THAT(lineage_->current()->machine->spec().devices, IsEmpty());
  EXPECT_THAT(fake_->commands("b"), Contains("object-del")) << "its backend";
  EXPECT_THAT(findings_of(observation), IsEmpty());
}

TEST_F(OperationsTest, ARefusedPlugLeavesNothingAndTheMigrationGoesOn) {
  refuse("b", "device_add");
  const record::Observation observation = iterate_with("plug", "settled");
  EXPECT_EQ(observation.status, IterationStatus::completed);
  EXPECT_THAT(events_of(observation), ElementsAre(kHotplugOfGuest));
  EXPECT_EQ(result_of(observation), "refused");
  EXPECT_THAT(error_of(observation), HasSubstr("device_add is refused"));
  EXPECT_FALSE(guest_has_it());
  EXPECT_THAT(fake_->commands("b"), Contains("object-del")) << "its backend";
  EXPECT_THAT(lineage_->current()->machine->spec().devices, IsEmpty()) << "a destination without it was started";
}

TEST_F(OperationsTest, ARefusedUnplugLeavesTheDeviceWhereItIs) {
  plug_before();
  refuse("b", "device_del");
  const record::Observation observation = iterate_with("unplug", "settled");
  EXPECT_EQ(observation.status, IterationStatus::completed);
  EXPECT_EQ(result_of(observation), "refused");
  EXPECT_TRUE(guest_has_it());
  EXPECT_THAT(lineage_->current()->machine->spec().devices, SizeIs(1));
}

TEST_F(OperationsTest, AGuestThatNeverLetsGoHangsAndKeepsTheDevice) {
  plug_before();
  scenario_.deadline.answer_s = 1;
  fake_->lets_go(LettingGo::never);
  const record::Observation observation = iterate_with("unplug", "settled");
  EXPECT_EQ(observation.status, IterationStatus::completed);
  EXPECT_THAT(events_of(observation), ElementsAre(kHotplugOfGuest, "hang guest"));
  EXPECT_EQ(result_of(observation), "unacknowledged");
  EXPECT_EQ(event_of(observation, record::event_kind::kHang)->detail["waiting_for"], "DEVICE_DELETED of vr0");
  EXPECT_TRUE(guest_has_it());
  EXPECT_THAT(lineage_->current()->machine->spec().devices, SizeIs(1));
}

TEST_F(OperationsTest, WhatGoesUnannouncedIsSeenInTheDeviceTree) {
  plug_before();
  fake_->lets_go(LettingGo::unannounced);
  const record::Observation observation = iterate_with("unplug", "settled");
  EXPECT_EQ(observation.status, IterationStatus::completed);
  EXPECT_THAT(events_of(observation), ElementsAre(kHotplugOfGuest));
  EXPECT_EQ(result_of(observation), "done");
  EXPECT_FALSE(guest_has_it());
}

TEST_F(OperationsTest, WhatTheGuestDoesNotShowIsThereAndUnconfirmed) {
  fake_->guest_overlooks_devices();
  const record::Observation observation = iterate_with("plug", "settled");
  EXPECT_EQ(observation.status, IterationStatus::completed);
  EXPECT_EQ(result_of(observation), "done");
  EXPECT_FALSE(confirmed(observation));
  EXPECT_TRUE(guest_has_it());
}

TEST_F(OperationsTest, AQemuThatCrashesDuringTheWaitIsBlamedAndNotTheGuest) {
  plug_before();
  fake_->lets_go(LettingGo::never);
  at_unplug([this] { fake_->end_soon("b", {-1, SIGSEGV, true}); });
  const record::Observation observation = iterate_with("unplug", "settled");
  EXPECT_EQ(observation.status, IterationStatus::lost);
  EXPECT_THAT(events_of(observation), ElementsAre("unexpected-exit qemu:b", "guest-lost guest"));
  EXPECT_THAT(findings_of(observation), ElementsAre("crash qemu:b"));
}

TEST_F(OperationsTest, AGuestThatPanicsDuringTheWaitIsLostByItsOwn) {
  plug_before();
  fake_->lets_go(LettingGo::never);
  at_unplug([this] { fake_->panic_guest(); });
  const record::Observation observation = iterate_with("unplug", "settled");
  EXPECT_EQ(observation.status, IterationStatus::lost);
  EXPECT_THAT(events_of(observation), Contains("guest-panic guest"));
  EXPECT_THAT(events_of(observation), Not(Contains(HasSubstr("hang"))));
  EXPECT_THAT(events_of(observation), Not(Contains(HasSubstr("unexpected-exit"))));
}

TEST_F(OperationsTest, AQemuThatHangsIsToldFromAGuestThatDoesNotLetGo) {
  plug_before();
  scenario_.deadline.answer_s = 1;
  at_unplug([this] { fake_->hang("b"); });
  const record::Observation observation = iterate_with("unplug", "settled");
  EXPECT_EQ(observation.status, IterationStatus::lost);
  EXPECT_THAT(events_of(observation), ElementsAre("hang qemu:b"));
}

TEST_F(OperationsTest, WhatTheUserStoppedIsUnknown) {
  plug_before();
  fake_->lets_go(LettingGo::never);
  at_unplug([this] {
    while (stop_.level() < 2) stop_.raise();
  });
  EXPECT_EQ(iterate_with("unplug", "settled").status, IterationStatus::unknown);
  EXPECT_EQ(result_, StepResult::interrupted);
}

TEST_F(OperationsTest, WhatIsAskedForDuringTheMigrationIsRefusedAsExpected) {
  const record::Observation plugged = iterate_with("plug", "refused");
  EXPECT_EQ(plugged.status, IterationStatus::completed);
  EXPECT_THAT(events_of(plugged), ElementsAre(kHotplugOfGuest));
  EXPECT_EQ(result_of(plugged), "expected-refusal");
  EXPECT_FALSE(guest_has_it());
  EXPECT_THAT(findings_of(plugged), IsEmpty());
}

TEST_F(OperationsTest, AQemuThatChangesItsDevicesWhileItMigratesIsToldOf) {
  fake_->plug_while_migrating();
  const record::Observation observation = iterate_with("plug", "refused");
  EXPECT_EQ(result_of(observation), "not-refused");
  EXPECT_FALSE(confirmed(observation));
}

TEST_F(OperationsTest, ARefusalForAnotherReasonIsNotTheExpectedOne) {
  refuse("b", "device_add");
  const record::Observation observation = iterate_with("plug", "refused");
  EXPECT_EQ(result_of(observation), "refused");
  EXPECT_THAT(error_of(observation), HasSubstr("device_add is refused"));
}

TEST_F(OperationsTest, APlugThatIsNotWaitedForIsConfirmedWhereTheGuestArrives) {
  const record::Observation observation = iterate_with("plug", "at-once");
  EXPECT_EQ(observation.status, IterationStatus::completed);
  EXPECT_EQ(result_of(observation), "done");
  EXPECT_TRUE(confirmed(observation));
  EXPECT_EQ(observation.events.back().phase, "hotplug");
  EXPECT_THAT(lineage_->current()->machine->spec().devices, SizeIs(1));
}

TEST_F(OperationsTest, AnUnplugThatIsUnderWayIsAskedForAgainOnTheDestination) {
  plug_before();
  fake_->lets_go(LettingGo::never);
  StepHook hook;
  hook.at("migrate", StepHook::When::after, [this] { fake_->lets_go(LettingGo::announced); });
  const record::Observation observation = iterate_with("unplug", "at-once", &hook);
  EXPECT_EQ(observation.status, IterationStatus::completed);
  EXPECT_EQ(result_of(observation), "done");
  EXPECT_THAT(fake_->commands("a"), Contains("device_del"));
  EXPECT_FALSE(guest_has_it());
}

TEST_F(OperationsTest, ADestinationThatRefusesTheSecondRequestIsNamed) {
  plug_before();
  fake_->lets_go(LettingGo::never);
  refuse("a", "device_del");
  const record::Observation observation = iterate_with("unplug", "at-once");
  EXPECT_EQ(observation.status, IterationStatus::completed);
  EXPECT_EQ(result_of(observation), "refused");
  EXPECT_EQ(event_of(observation, record::event_kind::kHotplug)->detail["side"], "a");
  EXPECT_TRUE(guest_has_it());
}

TEST_F(OperationsTest, AfterAFailedMigrationItIsConcludedOnTheSource) {
  fake_->migrations_pass({"setup", "active", "failed"});
  const record::Observation observation = iterate_with("plug", "at-once");
  EXPECT_EQ(observation.status, IterationStatus::failed);
  EXPECT_THAT(events_of(observation), ElementsAre("migration-failed qemu:a", kHotplugOfGuest));
  EXPECT_EQ(result_of(observation), "done");
  EXPECT_TRUE(guest_has_it());
  EXPECT_EQ(fake_->guest_side(), "b");
}

TEST_F(OperationsTest, HistoryThatWentOtherwiseSkipsWhatIsThereAlready) {
  plug_before();
  const record::Observation again = iterate_with("plug", "settled");
  EXPECT_EQ(result_of(again), "skipped");
  EXPECT_THAT(error_of(again), HasSubstr("there already"));
  adjust_ = [](record::Plan& plan) { plan.operations = {{"virtio-rng", "plug", "settled", "vr1", "", "0x5"}}; };
  const record::Observation other = iterate();
  EXPECT_EQ(result_of(other), "skipped");
  EXPECT_THAT(error_of(other), HasSubstr("taken by vr0"));
  EXPECT_THAT(lineage_->devices(), SizeIs(1));
}

}  // namespace
}  // namespace migsoak::engine
