// Scenarios for the engine's tests: those that ship, and small ones made of text.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "plan/load.h"
#include "scenario/scenario.h"

namespace migsoak::plan::testing {

inline scenario::Scenario shipped(const std::string& name, const std::vector<std::string>& sets = {}) {
  auto scenario = load_scenario(std::string(MIGSOAK_SOURCE_DIR) + "/scenarios/" + name + ".toml", sets);
  EXPECT_TRUE(scenario) << (scenario ? "" : scenario.error().describe());
  return scenario ? *std::move(scenario) : scenario::Scenario{};
}

// Two sides, a disk that is there from the start on a slot of its own, and what the test adds.
inline std::string hotplug_text(const std::string& machine, const std::string& more) {
  return "name = \"s\"\niterations = 20\n[guest]\nmachine = " + machine +
         "\n[[side]]\nname = \"a\"\n[[side]]\nname = \"b\"\n[[device]]\nid = \"vd0\"\ntype = \"virtio-blk\"\n" + more;
}

inline scenario::Scenario parsed(const std::string& text) {
  auto scenario = parse_scenario(text, "s.toml", "/", {});
  EXPECT_TRUE(scenario) << (scenario ? "" : scenario.error().describe()) << "\n" << text;
  return scenario ? *std::move(scenario) : scenario::Scenario{};
}

// Bad input that says all of `parts`, in one line.
inline void expect_refused(const std::string& text, const std::vector<std::string>& parts) {
  const auto scenario = parse_scenario(text, "s.toml", "/", {});
  ASSERT_FALSE(scenario) << text;
  EXPECT_EQ(scenario.error().kind, base::ErrorKind::bad_input);
  const std::string said = scenario.error().describe();
  EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 0) << said;
  for (const std::string& part : parts) EXPECT_THAT(said, ::testing::HasSubstr(part)) << text;
}

}  // namespace migsoak::plan::testing
