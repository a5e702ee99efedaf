#include "engine/lane_threads.h"

#include <fmt/format.h>

#include <exception>
#include <system_error>
#include <thread>
#include <vector>

namespace migsoak::engine {

void run_side_by_side(int lanes, StopToken& stop, const std::function<void(int lane)>& run_lane) {
  const auto guarded = [&](int lane) {
    try {
      run_lane(lane);
    } catch (const std::exception& exception) {
      stop.harness_failed(fmt::format("lane {} ended with an exception: {}", lane, exception.what()));
    } catch (...) {
      stop.harness_failed(fmt::format("lane {} ended with an exception", lane));
    }
  };
  std::vector<std::thread> threads;
  for (int lane = 1; lane < lanes; ++lane) {
    try {
      threads.emplace_back(guarded, lane);
    } catch (const std::system_error& error) {
      stop.harness_failed(fmt::format("no thread for lane {}: {}", lane, error.what()));
      break;
    }
  }
  guarded(0);
  for (std::thread& thread : threads) thread.join();
}

}  // namespace migsoak::engine
