// Reactor: one thread's event loop. Code reads top-down and waits here; handlers only append facts to inboxes.
#pragma once

#include <atomic>
#include <functional>
#include <memory>

#include "base/deadline.h"

namespace boost::asio {
class io_context;
}

namespace migsoak::proc {

// How often the user asked to stop: 1 = end after the current iteration, 2 = stop at once. Shared by all lanes.
class StopRequest {
 public:
  // Async-signal-safe.
  void raise() { level_.fetch_add(1, std::memory_order_relaxed); }
  int level() const { return level_.load(std::memory_order_relaxed); }

 private:
  std::atomic<int> level_{0};
};

enum class Wait { ready, timeout, interrupted };

class Reactor {
 public:
  // `stop` (not owned, may be null): at level 2 every wait returns Wait::interrupted within 50 ms.
  explicit Reactor(const StopRequest* stop = nullptr);
  ~Reactor();
  Reactor(const Reactor&) = delete;
  Reactor& operator=(const Reactor&) = delete;

  boost::asio::io_context& io();
  // Runs handlers until predicate() holds (checked first, and after every handler), the deadline passes, or the user
  // stops the run. `recheck`: also evaluates the predicate this often, for conditions no handler announces (/proc).
  Wait run_until(const std::function<bool()>& predicate, base::Deadline deadline,
                 std::chrono::milliseconds recheck = std::chrono::milliseconds(50));
  // Runs the handlers that are ready now, without waiting.
  void poll();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace migsoak::proc
