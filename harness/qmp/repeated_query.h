// RepeatedQuery: a question asked again and again, for what QEMU announces to nobody. It never waits: it goes into the
// condition of a Reactor::run_until, which knows the deadline.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "base/deadline.h"
#include "qmp/monitor.h"

namespace migsoak::qmp {

class RepeatedQuery {
 public:
  // Borrows `monitor`. Asks for the first time when `every` has passed, then this long after each answer.
  RepeatedQuery(Monitor& monitor, std::string command, std::chrono::milliseconds every);
  ~RepeatedQuery();
  RepeatedQuery(const RepeatedQuery&) = delete;
  RepeatedQuery& operator=(const RepeatedQuery&) = delete;

  // Takes the answer that has come, or asks when it is time. The new answer (an error where the connection has ended);
  // null: none has come since the last call.
  const base::Result<base::Json>* poll();

 private:
  Monitor& monitor_;
  const std::string command_;
  const std::chrono::milliseconds every_;
  base::Clock::time_point next_;
  std::optional<std::uint64_t> asked_;
  base::Result<base::Json> answer_;
};

}  // namespace migsoak::qmp
