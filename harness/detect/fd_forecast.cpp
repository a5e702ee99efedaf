#include "detect/fd_forecast.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/text.h"
#include "detect/quiet_point.h"

namespace migsoak::detect {

namespace {
constexpr std::size_t kHeadroomPoints = 20;

void push_bounded(std::deque<std::int64_t>& values, std::int64_t value) {
  values.push_back(value);
  if (values.size() > kHeadroomPoints) values.pop_front();
}
}  // namespace

void FdUsage::note(std::int64_t iteration, std::int64_t total, std::optional<std::int64_t> peak, int replaced) {
  iteration_ = iteration;
  total_ = total;
  if (peak) push_bounded(measured_, std::max<std::int64_t>(*peak - total, 0));
  push_bounded(estimated_, replaced);
}

std::int64_t FdUsage::headroom() const {
  // The sampled peak can only miss, never exaggerate: take the highest.
  if (!measured_.empty()) return *std::max_element(measured_.begin(), measured_.end());
  if (estimated_.empty()) return 0;
  std::vector<std::int64_t> sorted(estimated_.begin(), estimated_.end());
  std::sort(sorted.begin(), sorted.end());
  return sorted[sorted.size() / 2];
}

std::optional<std::int64_t> FdUsage::exhausts_at(double rate_per_iteration) const {
  if (limit_ <= 0 || rate_per_iteration <= 0) return std::nullopt;
  const auto left = static_cast<double>(limit_ - headroom() - total_);
  if (left < 0) return iteration_;
  const double further = std::floor(left / rate_per_iteration + 1e-9) + 1;
  return further > 1e12 ? std::nullopt : std::optional(iteration_ + static_cast<std::int64_t>(further));
}

base::Json axis_fit(const record::Manifest& manifest, const std::string& process, double rate) {
  const std::string prefix = "target:";
  if (!starts_with(process, prefix) || rate < 0.5 || std::abs(rate - std::round(rate)) > 1e-6) return nullptr;
  std::string name = process.substr(prefix.size());
  name = name.substr(0, name.find('@'));
  const auto target = std::find_if(manifest.targets.begin(), manifest.targets.end(),
                                   [&](const record::TargetInfo& info) { return info.name == name; });
  if (target == manifest.targets.end() || target->devices.empty()) return nullptr;
  const auto k = static_cast<std::int64_t>(std::llround(rate));
  const auto devices = static_cast<std::int64_t>(target->devices.size());
  std::int64_t queues = 0;
  for (const record::DeviceOnTarget& device : target->devices) queues += std::max(device.queues, 1);

  base::Json fits = base::Json::array();
  std::vector<std::string> words;
  const auto try_fit = [&](const char* axis, std::int64_t of, const std::string& what) {
    if (of <= 0 || k % of != 0) return;
    fits.push_back({{"axis", axis}, {"factor", k / of}, {"of", of}});
    words.push_back(of == 1 ? fmt::format("{} per {}", k / of, what) : fmt::format("{} x {} {}s", k / of, of, what));
  };
  try_fit("queue", queues, "queue");
  try_fit("device", devices, "device");
  try_fit("iteration", 1, "iteration");
  std::string text;
  if (queues == 1) {
    text = fmt::format(
        "{} = 1 device x 1 queue x {}: this scenario cannot tell per queue, per device and per iteration "
        "apart; run it with more queues or devices",
        k, k);
  } else if (queues == devices) {
    text = fmt::format("{} fits: {}; with one queue per device, queue and device cannot be told apart", k,
                       base::join(words, ", or "));
  } else if (fits.size() == 1) {
    text = fmt::format("{} per iteration, whatever the number of devices ({}) and queues ({}): it divides by neither",
                       k, devices, queues);
  } else {
    text = fmt::format("{} fits: {}", k, base::join(words, ", or "));
  }
  return {{"devices", devices}, {"queues", queues}, {"fits", fits}, {"text", text}};
}

}  // namespace migsoak::detect
