// sleep_for(1) in a comment is fine, and so is one behind code.
#include <thread>
#include "base/waits.h"
#include "detect/judge.h"
#include "judge.h"
void waits() {
  const int pause_ms = 1;  // usleep(1)
  std::this_thread::sleep_for(std::chrono::seconds(1));
  std::thread([] {}).detach();
  ::ppoll(nullptr, 0, &step, nullptr);
}
