// main() of this room's tests: the executable is also the guardian of its own containments, and the program that some
// tests start, because those need a harness process that they can kill.
#include <gmock/gmock.h>

#include <string>
#include <vector>

#include "proc/containment.h"
#include "proc/roles.h"

namespace {
bool is_started_by_a_test = false;
}

// LeakSanitizer's hook (sanitizer/lsan_interface.h). It looks at its own process in /proc, where a child in a PID
// namespace finds nobody, or somebody else.
extern "C" int __lsan_is_turned_off();   // NOLINT(bugprone-reserved-identifier,readability-identifier-naming)
extern "C" int __lsan_is_turned_off() {  // NOLINT(bugprone-reserved-identifier,readability-identifier-naming)
  return is_started_by_a_test ? 1 : 0;
}

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (!arguments.empty()) {
    is_started_by_a_test = arguments[0] == "guardian" || arguments[0] == "role";
    const std::vector<std::string> rest(arguments.begin() + 1, arguments.end());
    if (arguments[0] == "guardian") return migsoak::proc::guardian_main(rest);
    if (arguments[0] == "role") return migsoak::proc::play_role(rest);
  }
  ::testing::InitGoogleMock(&argc, argv);
  return RUN_ALL_TESTS();
}
