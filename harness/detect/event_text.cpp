#include "detect/event_text.h"

#include <fmt/format.h>
#include <algorithm>

#include <array>
#include <csignal>

namespace migsoak::detect {

std::string signal_name(std::int64_t number) {
  static constexpr std::array<std::pair<int, const char*>, 14> kNames = {{{SIGHUP, "SIGHUP"},
                                                                          {SIGINT, "SIGINT"},
                                                                          {SIGQUIT, "SIGQUIT"},
                                                                          {SIGILL, "SIGILL"},
                                                                          {SIGTRAP, "SIGTRAP"},
                                                                          {SIGABRT, "SIGABRT"},
                                                                          {SIGBUS, "SIGBUS"},
                                                                          {SIGFPE, "SIGFPE"},
                                                                          {SIGKILL, "SIGKILL"},
                                                                          {SIGSEGV, "SIGSEGV"},
                                                                          {SIGPIPE, "SIGPIPE"},
                                                                          {SIGTERM, "SIGTERM"},
                                                                          {SIGXFSZ, "SIGXFSZ"},
                                                                          {SIGSYS, "SIGSYS"}}};
  for (const auto& [value, name] : kNames) {
    if (value == number) return name;
  }
  return fmt::format("signal {}", number);
}

std::string duration_words(double milliseconds) {
  return milliseconds < 10000 ? fmt::format("{:.0f} ms", milliseconds) : fmt::format("{:.1f} s", milliseconds / 1000);
}

std::string file_name_of(const std::string& path) {
  const std::size_t slash = path.find_last_of('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

bool a_target_ended(const record::Observation& observation) {
  return std::any_of(observation.events.begin(), observation.events.end(), [](const record::Event& event) {
    return event.kind == kinds::kUnexpectedExit && event.subject.rfind("target:", 0) == 0;
  });
}

}  // namespace migsoak::detect
