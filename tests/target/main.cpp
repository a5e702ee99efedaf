// The test program is two: the tests, and the guardian of their containment.
#include <gtest/gtest.h>

#include <string>

#include "proc/containment.h"

int main(int argc, char** argv) {
  if (argc > 1 && std::string(argv[1]) == "guardian") return migsoak::proc::guardian_main({argv + 1, argv + argc});
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
