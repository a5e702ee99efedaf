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

bool tells_of_a_lost_target(const record::Observation& observation, const record::Event& line) {
  if (line.kind != kinds::kLogLine || line.subject.rfind("qemu:", 0) != 0 || !a_target_ended(observation)) return false;
  // QEMU's hw/virtio/vhost-user.c, hw/virtio/vhost.c and chardev/char-socket.c.
  for (const char* text : {"vhost", "msg fds", "Failed to write msg", "Failed to read msg", "Failed to connect to"}) {
    if (line.text.find(text) != std::string::npos) return true;
  }
  return false;
}

}  // namespace migsoak::detect
