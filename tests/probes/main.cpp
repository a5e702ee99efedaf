// The test program is three: the tests, the guardian of their containment, and the process they look at.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "fixture.h"
#include "proc/containment.h"

int main(int argc, char** argv) {
  const std::string role = argc > 1 ? argv[1] : "";
  if (role == "guardian") return migsoak::proc::guardian_main({argv + 1, argv + argc});
  if (role == "fixture") return migsoak::probes::fixture_main();
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
