// StopToken: why a run ends before its work is done. Shared by the lanes of a run: what stops one of them stops all,
// each after the iteration that it is in. Thread-safe.
#pragma once

#include <mutex>
#include <string>

namespace migsoak::engine {

class StopToken {
 public:
  // `why` as a run's end tells it: "stopped: …".
  void stop(const std::string& why);
  void interrupt();
  void harness_failed(const std::string& what);

  bool asked() const;
  // The first word of each kind.
  bool interrupted() const;
  std::string stopped_because() const;
  std::string harness_error() const;

 private:
  mutable std::mutex mutex_;
  bool interrupted_ = false;
  std::string stopped_because_, harness_error_;
};

}  // namespace migsoak::engine
