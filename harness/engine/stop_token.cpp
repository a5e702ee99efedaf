#include "engine/stop_token.h"

namespace migsoak::engine {

void StopToken::stop(const std::string& why) {
  const std::lock_guard lock(mutex_);
  if (stopped_because_.empty()) stopped_because_ = why;
}

void StopToken::interrupt() {
  const std::lock_guard lock(mutex_);
  interrupted_ = true;
}

void StopToken::harness_failed(const std::string& what) {
  const std::lock_guard lock(mutex_);
  if (harness_error_.empty()) harness_error_ = what.empty() ? "for no reason that is known" : what;
}

bool StopToken::asked() const {
  const std::lock_guard lock(mutex_);
  return interrupted_ || !stopped_because_.empty() || !harness_error_.empty();
}

bool StopToken::interrupted() const {
  const std::lock_guard lock(mutex_);
  return interrupted_;
}

std::string StopToken::stopped_because() const {
  const std::lock_guard lock(mutex_);
  return stopped_because_;
}

std::string StopToken::harness_error() const {
  const std::lock_guard lock(mutex_);
  return harness_error_;
}

}  // namespace migsoak::engine
