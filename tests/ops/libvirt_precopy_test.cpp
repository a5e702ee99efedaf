// precopy as libvirt conducts it, over VMs without a process and a migration whose course the test says.
#include <gmock/gmock.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "fake_vm/fake_driver.h"
#include "ops/modes/mode.h"
#include "ops/told.h"
#include "store/scratch.h"

namespace migsoak::ops {
namespace {

using base::Deadline;
using hypervisor::Machine;
using hypervisor::MachineSpec;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Key;
using ::testing::Pair;

// What a daemon would do; each look at it is a step further.
struct Course {
  bool destination_starts = true;
  std::optional<base::Error> fails;
  bool never_ends = false;       // until it is aborted
  std::function<void()> at_end;  // just before it is over
  int looks = 0;
  bool over = false;
  int aborted = 0;
};

class ConductedMigration : public hypervisor::DrivenMigration {
 public:
  explicit ConductedMigration(std::shared_ptr<Course> course) : course_(std::move(course)) {}
  bool has_destination() const override { return course_->destination_starts && course_->looks > 1; }
  bool over() const override {
    Course& course = *course_;
    const bool due = course.never_ends ? course.aborted > 0 : ++course.looks > 4;
    if (due && !std::exchange(course.over, true) && course.at_end) course.at_end();
    if (course.never_ends) ++course.looks;
    return due;
  }
  base::Result<void> result() const override {
    if (course_->fails) return tl::unexpected<base::Error>(*course_->fails);
    return {};
  }
  void abort() override { ++course_->aborted; }
  std::vector<std::pair<std::string, double>> figures(Deadline) override { return {{"total_ms", 42}}; }

 private:
  std::shared_ptr<Course> course_;
};

class LibvirtPrecopyTest : public ::testing::Test {
 protected:
  LibvirtPrecopyTest() {
    told_.on_started = [this] { ++started_; };
    told_.on_raise = [this](Deadline by) -> base::Result<Machine*> {
      MIGSOAK_ASSIGN(destination_, driver_.start(next_));
      MIGSOAK_TRY(destination_->wait_ready(by));
      return destination_.get();
    };
    told_.on_release = [this]() -> base::Result<void> {
      ++released_;
      return {};
    };
    driver_.conduct(
        [this](const MachineSpec& next, const std::string& transport,
               const record::LibvirtWay& way) -> base::Result<std::unique_ptr<hypervisor::DrivenMigration>> {
          asked_ = next.side + " " + transport + " " + way.managed;
          return std::make_unique<ConductedMigration>(course_);
        });
    course_->at_end = [this] {
      if (!course_->fails) driver_.end_unseen("a");  // as libvirt ends a source
    };
  }

  MachineSpec spec(const std::string& side) const {
    MachineSpec spec;
    spec.side = spec.instance = side;
    spec.run_dir = directory_.path();
    return spec;
  }

  MigrationOutcome run(Deadline deadline = Deadline::in(seconds(20))) {
    source_ = *driver_.start(spec("a"));
    EXPECT_TRUE(source_->wait_ready(Deadline::in(seconds(10))));
    next_ = spec("b");
    next_.incoming = true;
    MigrationChannels channels;
    channels.transport = "unix";
    channels.libvirt.managed = "client";
    MigrationContext context{reactor_, told_, source_.get(), nullptr, channels, deadline, &next_};
    return find_mode("precopy", "libvirt")->run(context);
  }

  const scratch::Directory directory_;
  proc::StopRequest stop_;
  proc::Reactor reactor_{&stop_};
  fake_vm::FakeDriver driver_{reactor_};
  std::shared_ptr<Course> course_ = std::make_shared<Course>();
  Told told_;
  std::string asked_;
  int started_ = 0, released_ = 0;
  MachineSpec next_;
  std::unique_ptr<Machine> source_, destination_;
};

TEST_F(LibvirtPrecopyTest, TheDestinationIsRaisedWithinItAndTheSourceReleased) {
  const MigrationOutcome outcome = run();
  ASSERT_EQ(outcome.result, MigrationResult::completed) << outcome.error;
  EXPECT_EQ(asked_, "b unix client");
  EXPECT_EQ(started_, 1);
  EXPECT_EQ(released_, 1);
  EXPECT_NE(destination_, nullptr);
  EXPECT_THAT(outcome.figures, Contains(Pair("total_ms", 42)));
  EXPECT_THAT(outcome.figures, Contains(Key("libvirt_prepare_ms")));
  EXPECT_THAT(outcome.figures, Contains(Key("libvirt_call_ms")));
}

TEST_F(LibvirtPrecopyTest, OneThatFailsLeavesTheGuestOnTheSource) {
  course_->destination_starts = false;
  course_->fails = base::Error{base::ErrorKind::subject, "migration: no space left", {}};
  const MigrationOutcome outcome = run();
  EXPECT_EQ(outcome.result, MigrationResult::failed);
  EXPECT_THAT(outcome.error, HasSubstr("no space left"));
  EXPECT_TRUE(outcome.source_runs);
  EXPECT_EQ(released_, 0);
}

TEST_F(LibvirtPrecopyTest, ADestinationThatEndedIsLostAndASourceThatEndedIsTheGuestsLoss) {
  course_->fails = base::Error{base::ErrorKind::subject, "migration: operation failed", {}};
  course_->at_end = [this] { driver_.end_unseen("b"); };
  EXPECT_EQ(run().result, MigrationResult::destination_lost);
  course_ = std::make_shared<Course>();
  course_->fails = base::Error{base::ErrorKind::subject, "migration: domain is not running", {}};
  course_->at_end = [this] { driver_.end_unseen("a"); };
  source_.reset();
  destination_.reset();
  EXPECT_EQ(run().result, MigrationResult::source_lost);
}

// By libvirt's word the guest moved, and nobody can say where to: never a pass.
TEST_F(LibvirtPrecopyTest, OneThatCompletedWithoutADestinationIsNone) {
  course_->destination_starts = false;
  const MigrationOutcome outcome = run();
  EXPECT_EQ(outcome.result, MigrationResult::source_lost);
  EXPECT_THAT(outcome.error, HasSubstr("did not tell of its start"));
}

TEST_F(LibvirtPrecopyTest, OneWithoutAnEndIsAbortedAtItsDeadline) {
  course_->never_ends = true;
  course_->fails = base::Error{base::ErrorKind::subject, "migration: aborted", {}};
  const MigrationOutcome outcome = run(Deadline::in(milliseconds(300)));
  EXPECT_EQ(outcome.result, MigrationResult::hang);
  EXPECT_GE(course_->aborted, 1);
  EXPECT_THAT(outcome.error, HasSubstr("aborted"));
}

TEST_F(LibvirtPrecopyTest, AnotherDriverHasNoSuchMigration) {
  driver_.conduct(nullptr);
  const MigrationOutcome outcome = run();
  EXPECT_EQ(outcome.result, MigrationResult::failed);
  EXPECT_THAT(outcome.error, HasSubstr("does not migrate by itself"));
  EXPECT_EQ(started_, 0);
}

TEST(DriverModes, EachDriverHasItsOwn) {
  EXPECT_EQ(find_mode("precopy", "direct"), find_mode("precopy"));
  EXPECT_EQ(find_mode("precopy", "libvirt")->needs.process_order, ProcessOrder::within);
  EXPECT_EQ(find_mode("cpr-exec", "libvirt"), nullptr);
  EXPECT_EQ(find_mode("precopy", "none"), nullptr);
  EXPECT_THAT(mode_names("libvirt"), testing::ElementsAre("precopy"));
  EXPECT_THAT(mode_names("direct"), Contains("cpr-exec"));
}

}  // namespace
}  // namespace migsoak::ops
