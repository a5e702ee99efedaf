#include "qmp/repeated_query.h"

#include <utility>

namespace migsoak::qmp {

namespace {
base::Deadline at_once() {
  return base::Deadline::at(base::Clock::now());
}
}  // namespace

RepeatedQuery::RepeatedQuery(Monitor& monitor, std::string command, std::chrono::milliseconds every)
    : monitor_(monitor), command_(std::move(command)), every_(every), next_(base::Clock::now() + every) {}

// A reply that nobody wants any more must not stay in the monitor.
RepeatedQuery::~RepeatedQuery() {
  if (asked_) (void)monitor_.take_reply(*asked_, at_once());
}

const base::Result<base::Json>* RepeatedQuery::poll() {
  if (!asked_) {
    if (base::Clock::now() < next_) return nullptr;
    asked_ = monitor_.send(command_);
  }
  if (!monitor_.replied(*asked_)) return nullptr;
  answer_ = monitor_.take_reply(*std::exchange(asked_, std::nullopt), at_once());
  next_ = base::Clock::now() + every_;
  return &answer_;
}

}  // namespace migsoak::qmp
