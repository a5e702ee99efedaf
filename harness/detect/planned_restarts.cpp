#include "detect/planned_restarts.h"

#include <algorithm>

#include "detect/event_text.h"
#include "detect/quiet_point.h"

namespace migsoak::detect {

namespace {

// "target:disk0@a" is an instance of "disk0".
bool is_of_target(const std::string& process, const std::string& target) {
  const std::string name = "target:" + target;
  return process == name || starts_with(process, name + "@");
}

bool serves(const record::TargetInfo& target, const std::string& disk) {
  return std::any_of(target.devices.begin(), target.devices.end(),
                     [&disk](const record::DeviceOnTarget& device) { return device.id == disk; });
}

bool contains_any(const std::string& text, std::initializer_list<const char*> words) {
  return std::any_of(words.begin(), words.end(),
                     [&text](const char* word) { return text.find(word) != std::string::npos; });
}

}  // namespace

bool io_errors_declared(const record::Observation& observation, const std::vector<record::TargetInfo>& targets,
                        const std::string& disk) {
  return std::any_of(observation.events.begin(), observation.events.end(), [&](const record::Event& event) {
    if (event.kind != kinds::kTargetRestart || detail_text(event, "expect") != "io-errors") return false;
    if (disk.empty()) return true;
    return std::any_of(targets.begin(), targets.end(), [&](const record::TargetInfo& target) {
      return is_of_target(event.subject, target.name) && serves(target, disk);
    });
  });
}

bool guest_ended_by_restart(const record::Observation& observation) {
  return std::any_of(observation.events.begin(), observation.events.end(), [](const record::Event& event) {
    return event.kind == kinds::kTargetRestart && detail_text(event, "expect") == "io-errors" &&
           base::json_get<bool>(event.detail, "ended_guest", false);
  });
}

bool tells_of_a_broken_queue(const record::Event& line) {
  return line.kind == kinds::kLogLine && starts_with(line.subject, "target:") &&
         contains_any(line.text, {"vu_panic: virtio: ", "vu_panic: Virtqueue "});
}

bool tells_of_a_restart(const record::Observation& observation, const record::Event& line) {
  if (line.kind != kinds::kLogLine) return false;
  return std::any_of(observation.events.begin(), observation.events.end(), [&line](const record::Event& event) {
    if (event.kind != kinds::kTargetRestart) return false;
    // QEMU's hw/virtio/vhost-user.c, hw/virtio/vhost.c, and what it makes of a message without an answer.
    if (is_qemu(line.subject)) {
      return contains_any(line.text, {"vhost_set_", "ring restore failed", "msg fds", "Failed to write msg",
                                      "Failed to read msg", "Failed to connect to"});
    }
    // subprojects/libvhost-user: an answer to a client that has gone, or that it no longer gets to write.
    return line.subject == event.subject && contains_any(line.text, {"vu_panic: Error while writing: Broken pipe"});
  });
}

}  // namespace migsoak::detect
