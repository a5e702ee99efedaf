#include "proc/reactor.h"

#include <algorithm>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <exception>

#include "base/log.h"

namespace migsoak::proc {

namespace {
// How often a wait looks at the StopRequest.
constexpr auto kStopSlice = std::chrono::milliseconds(50);
}  // namespace

struct Reactor::Impl {
  explicit Impl(const StopRequest* stop_request) : stop(stop_request), work(io.get_executor()) {}

  bool stop_at_once() const { return stop != nullptr && stop->level() >= 2; }

  // Runs at most one handler until `until`; whether one ran. A handler that throws is a programmer's error that must
  // not end the run: it is logged, and the wait goes on.
  bool run_one(base::Clock::time_point until) {
    try {
      return io.run_one_until(until) > 0;
    } catch (const std::exception& error) {
      spdlog::error("a handler of the event loop threw: {}", error.what());
      return true;
    }
  }

  const StopRequest* stop;
  boost::asio::io_context io{1};
  // Keeps run_one_until() waiting when no operation is pending.
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work;
};

Reactor::Reactor(const StopRequest* stop) : impl_(std::make_unique<Impl>(stop)) {}
Reactor::~Reactor() = default;

boost::asio::io_context& Reactor::io() {
  return impl_->io;
}

Wait Reactor::run_until(const std::function<bool()>& predicate, base::Deadline deadline,
                        std::chrono::milliseconds recheck) {
  for (;;) {
    if (predicate()) return Wait::ready;
    const base::Clock::time_point next_check = base::Clock::now() + recheck;
    // Until a handler ran or the predicate is due for a look.
    for (;;) {
      if (impl_->stop_at_once()) return Wait::interrupted;
      const base::Clock::time_point now = base::Clock::now();
      if (now >= deadline.point()) return predicate() ? Wait::ready : Wait::timeout;
      const base::Clock::time_point until = std::min({deadline.point(), next_check, now + kStopSlice});
      if (impl_->run_one(until) || base::Clock::now() >= next_check) break;
    }
  }
}

void Reactor::poll() {
  try {
    impl_->io.poll();
  } catch (const std::exception& error) {
    spdlog::error("a handler of the event loop threw: {}", error.what());
  }
}

}  // namespace migsoak::proc
