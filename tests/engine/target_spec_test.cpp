// What a target's process is made of: the same for the run and for the check before it.
#include "engine/target_spec.h"

#include "engine/command_line_check.h"
#include "plan/scenario_text.h"

namespace migsoak::engine {
namespace {

using namespace plan::testing;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Two sides; what a test adds to the target stands first, then what it adds at the end.
std::string target_text(const std::string& target, const std::string& more = "") {
  return "name = \"s\"\n[[side]]\nname = \"a\"\n[[side]]\nname = \"b\"\n[[target]]\nname = \"disk0\"\n" + target +
         "\n[[device]]\nid = \"vd0\"\ntype = \"vhost-user-blk\"\ntarget = \"disk0\"\n[device.props]\nnum-queues = 2\n" +
         more;
}

target::TargetSpec spec_of(const Scenario& scenario, const std::string& side = "", const std::string& slot = "") {
  return target_spec(scenario, scenario.targets.front(), {side, slot}, "/r");
}

TEST(TargetSpec, AProcessForAllOrOneForEachSideOrVm) {
  const Scenario one = parsed(target_text(""));
  EXPECT_THAT(target_places(one, one.targets.front()), ElementsAre(TargetPlace{"", ""}));
  EXPECT_EQ(spec_of(one).process, "target:disk0");
  const Scenario each = parsed(target_text("share = \"per-side\""));
  EXPECT_THAT(target_places(each, each.targets.front()), ElementsAre(TargetPlace{"a", ""}, TargetPlace{"b", ""}));
  EXPECT_EQ(spec_of(each, "b").process, "target:disk0@b");
  const Scenario vm = parsed(target_text("share = \"per-vm\""));
  EXPECT_THAT(target_places(vm, vm.targets.front()),
              ElementsAre(TargetPlace{"a", "0"}, TargetPlace{"a", "1"}, TargetPlace{"b", "0"}, TargetPlace{"b", "1"}));
}

// Two VMs may stand on one side, and each has its own process: of one name in the record, on sockets of their own.
TEST(TargetSpec, AProcessOfOneVmHasItsSlotAlone) {
  const Scenario scenario = parsed(target_text("share = \"per-vm\""));
  const target::TargetSpec spec = spec_of(scenario, "a", "1");
  EXPECT_EQ(spec.process, "target:disk0@a");
  EXPECT_THAT(spec.slots, ElementsAre("1"));
  EXPECT_TRUE(spec.log_append);
  const auto endpoint = target::endpoint_of(spec, "vd0", "1");
  ASSERT_TRUE(endpoint) << endpoint.error().describe();
  EXPECT_EQ(endpoint->socket, "/r/disk0@a.1");
}

TEST(TargetSpec, ServesWhatIsPluggedToo) {
  const Scenario scenario =
      parsed(target_text("", "[hotplug]\noperations = 1\ntarget = \"disk0\"\n[hotplug.kinds]\nvhost-user-blk = 1\n"));
  const target::TargetSpec spec = spec_of(scenario);
  ASSERT_EQ(spec.devices.size(), 5U);
  EXPECT_EQ(spec.devices[0].queues, 2);
  EXPECT_EQ(spec.devices[1].id, "vu0");
  EXPECT_EQ(spec.devices[1].image, "/r/vu0.img");
}

TEST(TargetSpec, AThirdSlotWhereTheNextDestinationIsRaisedEarly) {
  EXPECT_THAT(spec_of(parsed(target_text(""))).slots, ElementsAre("0", "1"));
  EXPECT_THAT(spec_of(parsed(target_text("", "[run]\nraise_early = true\n"))).slots, ElementsAre("0", "1", "2"));
}

TEST(TargetSpec, TheCommandLineIsTheOneThatRuns) {
  const Scenario scenario = parsed(target_text("aio = \"io_uring\"\nworkers = 3\nwrapper = [\"nice\"]"));
  const auto argv = target::command_line(spec_of(scenario));
  ASSERT_TRUE(argv) << argv.error().describe();
  EXPECT_EQ(argv->front(), "nice");
  EXPECT_THAT(*argv, Contains(HasSubstr("aio=io_uring")));
  EXPECT_THAT(*argv, Contains(HasSubstr("thread-pool-max=3")));
}

// With plugged disks a socket's name has a word more: a folder in which "disk0.1" fits and "disk0.vu0.1" does not.
TEST(TargetSpec, TheRehearsalHasTheSocketsOfPluggedDisks) {
  const std::string run_dir = "/" + std::string(107 - 1 - std::string("/disk0.vd0.1").size(), 'd');
  const std::string plugged = "[hotplug]\noperations = 1\ntarget = \"disk0\"\n[hotplug.kinds]\nvhost-user-blk = 1\n";
  const Scenario plain = parsed(target_text(""));
  EXPECT_TRUE(check_command_lines(plain, run_dir + "d", 1));
  const auto fits = check_command_lines(parsed(target_text("", plugged)), run_dir, 1);
  EXPECT_TRUE(fits) << fits.error().describe();
  const auto refused = check_command_lines(parsed(target_text("", plugged)), run_dir + "d", 1);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().describe(), HasSubstr("107"));
}

}  // namespace
}  // namespace migsoak::engine
