// main() of this room's tests: the executable is also the guardian of its own containments, and the program that some
// tests start, because those need a harness process that they can kill.
#include <gmock/gmock.h>

#include <string>
#include <vector>

#include "proc/containment.h"
#include "proc/roles.h"

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (!arguments.empty()) {
    const std::vector<std::string> rest(arguments.begin() + 1, arguments.end());
    if (arguments[0] == "guardian") return migsoak::proc::guardian_main(rest);
    if (arguments[0] == "role") return migsoak::proc::play_role(rest);
  }
  ::testing::InitGoogleMock(&argc, argv);
  return RUN_ALL_TESTS();
}
