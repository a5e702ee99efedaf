// A lineage's VMs: who is born, who ends and how that is told. No process is started.
#include "engine/lineage.h"

#include <gmock/gmock.h>

#include <csignal>

#include "engine/fake_lineage.h"

namespace migsoak::engine {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class LineageTest : public FakeLineage, public ::testing::Test {
 protected:
  LineageTest() { observation_.plan = {0, "a", "b", "precopy", "unix", "q35"}; }

  Vm& started(const std::string& side, const char* mode = nullptr, const Vm* source = nullptr) {
    const auto vm = lineage_->spawn(
        lineage_->prepare(side, mode != nullptr ? ops::find_mode(mode) : nullptr, source, lineage_->devices()),
        journal_);
    EXPECT_TRUE(vm);
    EXPECT_TRUE(lineage_->make_ready(**vm, base::Deadline::in(std::chrono::seconds(10))));
    return **vm;
  }
  const record::ProcessEnd& last_end() const { return observation_.processes_ended.back(); }

  record::Observation observation_;
  record::Journal journal_{observation_};
};

TEST_F(LineageTest, AVmThatQuitsAsAskedEndsAsExpected) {
  Vm& vm = started("a");
  const std::int64_t id = vm.process_id;
  ASSERT_THAT(observation_.processes_born, SizeIs(1));
  EXPECT_EQ(observation_.processes_born[0].name, "qemu:a");
  EXPECT_EQ(lineage_->find(id), &vm);
  lineage_->retire(vm, /*by_quit=*/true, journal_);
  ASSERT_THAT(observation_.processes_ended, SizeIs(1));
  EXPECT_EQ(last_end().process_id, id);
  EXPECT_TRUE(last_end().expected);
  EXPECT_EQ(last_end().exit_code, 0);
  EXPECT_EQ(lineage_->find(id), nullptr);
  EXPECT_THAT(observation_.events, IsEmpty());
}

TEST_F(LineageTest, AVmThatIsNotAskedIsKilled) {
  lineage_->retire(started("a"), /*by_quit=*/false, journal_);
  EXPECT_TRUE(last_end().expected);
  EXPECT_EQ(last_end().signal, SIGKILL);
}

TEST_F(LineageTest, OneThatDoesNotQuitIsKilledInTheEnd) {
  scenario_.deadline.quit_s = 1;
  Vm& vm = started("a");
  fake_->hang("a");
  lineage_->retire(vm, /*by_quit=*/true, journal_);
  EXPECT_EQ(last_end().signal, SIGKILL);
  EXPECT_THAT(lineage_->vms(), IsEmpty());
}

TEST_F(LineageTest, AnEndThatNobodyAskedForIsToldWithItsLastLine) {
  started("a");
  fake_->say("a", "out of memory");
  EXPECT_FALSE(lineage_->note_unexpected_ends(journal_));
  fake_->end("a", {3, 0, false});
  EXPECT_TRUE(lineage_->note_unexpected_ends(journal_));
  EXPECT_FALSE(last_end().expected);
  EXPECT_EQ(last_end().exit_code, 3);
  const record::Event* exit = event_of(observation_, record::event_kind::kUnexpectedExit);
  ASSERT_NE(exit, nullptr);
  EXPECT_EQ(exit->subject, "qemu:a");
  EXPECT_THAT(exit->text, HasSubstr("exit status 3; last line: out of memory"));
  EXPECT_EQ(exit->detail["exit_code"], 3);
  EXPECT_FALSE(lineage_->note_unexpected_ends(journal_)) << "once";
}

TEST_F(LineageTest, AnEndWhoseStatusNobodyKnowsSaysSo) {
  started("a");
  fake_->end_unseen("a");
  EXPECT_TRUE(lineage_->note_unexpected_ends(journal_));
  const record::Event* exit = event_of(observation_, record::event_kind::kUnexpectedExit);
  ASSERT_NE(exit, nullptr);
  EXPECT_THAT(exit->text, HasSubstr("nobody knows its status"));
  EXPECT_FALSE(exit->detail.contains("exit_code"));
  EXPECT_FALSE(exit->detail.contains("signal"));
}

TEST_F(LineageTest, OneThatWasAskedToQuitEndsUnnoticed) {
  Vm& vm = started("a");
  vm.asked_to_quit = true;
  fake_->end("a", {0, 0, false});
  EXPECT_FALSE(lineage_->note_unexpected_ends(journal_));
}

TEST_F(LineageTest, AnExecIsOneProcessAndTheNextGeneration) {
  Vm& old = started("a");
  lineage_->set_current(&old);
  const std::int64_t old_id = old.process_id;
  const auto next =
      lineage_->take_over(old, lineage_->prepare("b", ops::find_mode("cpr-exec"), &old, lineage_->devices()), journal_);
  ASSERT_TRUE(next) << next.error().describe();
  EXPECT_THAT(lineage_->vms(), SizeIs(1));
  EXPECT_EQ(lineage_->current(), nullptr) << "until the guest is heard there";
  ASSERT_THAT(observation_.processes_born, SizeIs(2));
  EXPECT_EQ(observation_.processes_born[1].name, "qemu:b");
  EXPECT_EQ(observation_.processes_born[1].generation, 1);
  EXPECT_EQ(observation_.processes_born[1].pid, observation_.processes_born[0].pid);
  EXPECT_EQ(last_end().process_id, old_id);
  EXPECT_TRUE(last_end().expected);
}

TEST_F(LineageTest, WhatHasEndedCanNotExec) {
  Vm& old = started("a");
  fake_->end("a", {-1, SIGSEGV, true});
  const auto next =
      lineage_->take_over(old, lineage_->prepare("b", ops::find_mode("cpr-exec"), &old, lineage_->devices()), journal_);
  ASSERT_FALSE(next);
  EXPECT_EQ(next.error().kind, base::ErrorKind::subject);
  EXPECT_THAT(lineage_->vms(), SizeIs(1)) << "and is still there, to be told";
  EXPECT_TRUE(lineage_->note_unexpected_ends(journal_));
  EXPECT_EQ(last_end().signal, SIGSEGV);
}

TEST(SideDriver, IsOneOfTheCatalogue) {
  const auto with = [](const std::string& driver) {
    return plan::parse_scenario("name = \"s\"\n[[side]]\nname = \"a\"\ndriver = \"" + driver + "\"\n", "s.toml", "/",
                                {});
  };
  ASSERT_TRUE(with("direct"));
  EXPECT_EQ(with("direct")->sides[0].driver, "direct");
  ASSERT_FALSE(with("pigeon"));
  EXPECT_EQ(with("pigeon").error().kind, base::ErrorKind::bad_input);
  EXPECT_THAT(with("pigeon").error().describe(), HasSubstr("'pigeon' is not one of direct"));
}

}  // namespace
}  // namespace migsoak::engine
