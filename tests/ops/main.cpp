// Containment starts the guardian from /proc/self/exe, which here is the test itself.
#include <gmock/gmock.h>

#include <cstring>
#include <string>
#include <vector>

#include "proc/containment.h"

int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], "guardian") == 0) {
    return migsoak::proc::guardian_main(std::vector<std::string>(argv + 2, argv + argc));
  }
  ::testing::InitGoogleMock(&argc, argv);
  return RUN_ALL_TESTS();
}
