#include "engine/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>

#include "base/text.h"

namespace migsoak::engine {

namespace {
constexpr std::chrono::milliseconds kLiveEvery{200};
constexpr std::chrono::seconds kPlainEvery{15};

std::string span(double seconds) {
  const auto whole = std::lround(seconds);
  if (whole >= 3600) return fmt::format("{}h{:02}m", whole / 3600, whole / 60 % 60);
  return fmt::format("{}m{:02}s", whole / 60, whole % 60);
}
}  // namespace

Progress::Progress(bool enabled, std::string scenario, std::int64_t first, std::int64_t total)
    : enabled_(enabled),
      terminal_(isatty(STDERR_FILENO) == 1),
      scenario_(std::move(scenario)),
      total_(total),
      done_before_(first) {}

Progress::~Progress() {
  const std::lock_guard lock(mutex_);
  if (enabled_ && done_ > 0) show(true);
}

void Progress::note(const std::string& line) {
  const std::lock_guard lock(mutex_);
  if (!enabled_) return;
  fmt::print(stderr, "{}{}\n", terminal_ ? "\r\033[K" : "", line);
}

void Progress::finished(const record::Observation& observation, const std::vector<record::Finding>& fresh) {
  const std::lock_guard lock(mutex_);
  ++done_;
  findings_ += fresh.size();
  last_status_ = record::to_string(observation.status);
  std::string fds;
  for (const record::Sample& sample : observation.samples) {
    if (sample.metric != "fd.total" || !sample.subject.starts_with("target:")) continue;
    fds += fmt::format("{}{} {}", fds.empty() ? "" : ", ", sample.subject.substr(7),
                       static_cast<std::int64_t>(sample.value));
  }
  if (!fds.empty()) fds_ = fds;
  if (!enabled_) return;
  for (const record::Finding& finding : fresh) {
    fmt::print(stderr, "{}iteration {}: {} {}: {}\n", terminal_ ? "\r\033[K" : "", observation.iteration,
               record::to_string(finding.severity), finding.detector, base::printable(finding.title));
  }
  const auto now = base::Clock::now();
  const bool due = done_ == 1 || (terminal_ ? now - shown_ >= kLiveEvery : now - shown_ >= kPlainEvery);
  if (due) show(false);
}

void Progress::show(bool final) {
  shown_ = base::Clock::now();
  const double seconds = std::chrono::duration<double>(shown_ - began_).count();
  const double rate = seconds > 0 ? static_cast<double>(done_) / seconds : 0;
  const std::int64_t all = done_before_ + done_;
  const double left = rate > 0 ? static_cast<double>(total_ - all) / rate : 0;
  fmt::print(stderr, "{}{}: iteration {}/{}  {:.2f}/s  {}  fds: {}  findings: {}{}", terminal_ ? "\r\033[K" : "",
             scenario_, all, total_, rate, final ? "took " + span(seconds) : "left " + span(left),
             fds_.empty() ? "-" : fds_, findings_, terminal_ && !final ? "" : "\n");
  std::fflush(stderr);
}

}  // namespace migsoak::engine
