// What is checked is what runs.
#include "engine/command_line_check.h"

#include <gmock/gmock.h>

#include "engine/target_spec.h"
#include "plan/scenario_text.h"

namespace migsoak::engine {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

// Disks that the run may plug are served by the target, too, and have the longest socket paths.
constexpr const char* kPlugged = R"(name = "s"
[[side]]
name = "a"
[[side]]
name = "b"
[[target]]
name = "target-of-a-long-name"
[[device]]
id = "v"
type = "vhost-user-blk"
target = "target-of-a-long-name"
[hotplug]
operations = 1
target = "target-of-a-long-name"
[hotplug.kinds]
vhost-user-blk = 1
)";

std::size_t longest_socket(const Scenario& scenario, const std::string& run_dir) {
  const target::TargetSpec spec = target_spec(scenario, scenario.targets.front(), {}, run_dir);
  EXPECT_GT(spec.devices.size(), 1U);
  std::size_t longest = 0;
  for (const target::ServedDevice& device : spec.devices) {
    for (const std::string& slot : spec.slots) {
      const auto endpoint = target::endpoint_of(spec, device.id, slot);
      EXPECT_TRUE(endpoint) << endpoint.error().describe();
      if (endpoint) longest = std::max(longest, endpoint->socket.size());
    }
  }
  return longest;
}

TEST(CommandLineCheck, RefusesASocketPathThatOnlyAPluggedDiskHas) {
  const Scenario scenario = plan::testing::parsed(kPlugged);
  constexpr std::size_t kSocketPathMax = 107;
  const std::size_t rest = longest_socket(scenario, "/r") - 2;
  const std::string fits = "/" + std::string(kSocketPathMax - rest - 1, 'r');
  EXPECT_TRUE(check_command_lines(scenario, fits, 1));
  const auto refused = check_command_lines(scenario, fits + "r", 1);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, base::ErrorKind::bad_input);
  EXPECT_THAT(refused.error().describe(), HasSubstr("target-of-a-long-name"));
}

TEST(TargetSpec, HasEverythingThatTheScenarioSays) {
  Scenario scenario = plan::testing::parsed(kPlugged);
  TargetScenario& target = scenario.targets.front();
  target.options = {{"aio", "native"}, {"workers", 3}};
  target.nofile = 77;
  target.env["A"] = "b";
  target.wrapper = {"valgrind"};
  const target::TargetSpec spec = target_spec(scenario, target, {"a", ""}, "/run");
  EXPECT_EQ(spec.process, "target:target-of-a-long-name@a");
  EXPECT_EQ(spec.options, target.options);
  EXPECT_EQ(spec.nofile, 77U);
  EXPECT_EQ(spec.env.at("A"), "b");
  EXPECT_EQ(spec.env.at("MIGSOAK_PROCESS"), "target:target-of-a-long-name@a");
  EXPECT_THAT(spec.wrapper, Contains("valgrind"));
  EXPECT_GT(spec.devices.size(), 1U);
  EXPECT_EQ(spec.devices.front().image, "/run/v.img");
  EXPECT_GE(spec.slots.size(), 2U);
}

}  // namespace
}  // namespace migsoak::engine
