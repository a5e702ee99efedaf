// Containment starts the guardian from /proc/self/exe, which here is the test itself.
#include <gmock/gmock.h>

#include <string>
#include <vector>

#include "proc/containment.h"

int main(int argc, char** argv) {
  if (argc > 1 && std::string(argv[1]) == "guardian")
    return migsoak::proc::guardian_main(std::vector<std::string>(argv + 1, argv + argc));
  ::testing::InitGoogleMock(&argc, argv);
  return RUN_ALL_TESTS();
}
