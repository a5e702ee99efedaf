#include "detect/fd_samples.h"

#include "detect/quiet_point.h"

namespace migsoak::detect {

std::map<std::string, FdSample> fd_samples(const record::Observation& observation) {
  std::map<std::string, FdSample> by_process;
  const QuietPoint quiet(observation);
  if (!quiet.reached()) return by_process;
  for (const record::Sample& sample : observation.samples) {
    if (sample.process_id == 0 || !starts_with(sample.metric, "fd.") || !quiet.comparable(sample.subject)) continue;
    if (!(sample.value >= 0 && sample.value < 1e9)) continue;
    FdSample& process = by_process[sample.subject];
    process.process_id = sample.process_id;
    const std::string kind = sample.metric.substr(3);
    const auto value = static_cast<std::int32_t>(sample.value);
    if (kind == "total") {
      process.total = value;
    } else if (kind == "peak") {
      process.peak = value;
    } else {
      process.kinds[kind] = value;
    }
  }
  // A peak alone is no quiet point.
  std::erase_if(by_process, [](const auto& entry) { return !entry.second.total && entry.second.kinds.empty(); });
  return by_process;
}

}  // namespace migsoak::detect
