#include "proc/look_until.h"

#include <poll.h>

#include <algorithm>

namespace migsoak::proc {

bool look_until(const std::function<bool()>& there, base::Deadline deadline, std::chrono::milliseconds every) {
  for (;;) {
    const bool last = deadline.passed();
    if (there()) return true;
    if (last) return false;
    // left() rounds down: a millisecond more, or the last one would be spent looking.
    const auto pause = std::min(every, deadline.left() + std::chrono::milliseconds(1));
    ::poll(nullptr, 0, static_cast<int>(pause.count()));
  }
}

}  // namespace migsoak::proc
