#include "hypervisor/libvirt_monitor.h"

#include <libvirt/libvirt-qemu.h>

#include <cstdlib>
#include <utility>

#include "base/text.h"
#include "hypervisor/libvirt_xml.h"

namespace migsoak::hypervisor {
using base::ErrorKind;

namespace {

constexpr std::size_t kMonitorEventsMax = 10'000;

// On a thread that may block. libvirtd gives the command an id of its own.
base::Result<base::Json> ask_qemu(virDomainPtr domain, const std::string& command, const std::string& line,
                                  const std::vector<std::string>& ids) {
  char* answer = nullptr;
  if (virDomainQemuMonitorCommand(domain, line.c_str(), &answer, VIR_DOMAIN_QEMU_MONITOR_COMMAND_DEFAULT) != 0) {
    return libvirt_error(command);
  }
  auto parsed = base::parse_json(with_own_ids(answer != nullptr ? answer : "", ids));
  std::free(answer);
  if (!parsed || !parsed->is_object()) return base::fail(ErrorKind::subject, command + ": no QMP in the answer");
  if (parsed->contains("return")) return std::move((*parsed)["return"]);
  const base::Json error = base::json_get<base::Json>(*parsed, "error", base::Json::object());
  return base::fail(ErrorKind::subject, base::printable(base::json_get<std::string>(error, "class", "?") + ": " +
                                                            base::json_get<std::string>(error, "desc", ""),
                                                        1000));
}

}  // namespace

void LibvirtMonitorState::add_event(qmp::Event event) {
  events.push_back(std::move(event));
  if (events.size() > kMonitorEventsMax) events.pop_front();
}

std::uint64_t LibvirtMonitor::send_command(const std::string& command, const base::Json& arguments, int descriptor) {
  const std::uint64_t id = next_id_++;
  if (descriptor >= 0 || !connected()) {
    const std::string why = descriptor >= 0 ? "a descriptor can't be handed to QEMU through libvirt" : end_reason();
    state_->replies.emplace(id, base::fail(ErrorKind::subject, why));
    return id;
  }
  state_->pending.insert(id);
  base::Json line{{"execute", command}};
  if (!arguments.empty()) line["arguments"] = arguments;
  thread_.run([domain = domain_, inbox = inbox_, weak = std::weak_ptr(state_), id, command, ids = ids_,
               text = with_libvirt_ids(base::dump_json(line), ids_)] {
    auto answer = std::make_shared<base::Result<base::Json>>(ask_qemu(domain.get(), command, text, ids));
    inbox->post([weak, id, answer] {
      const auto state = weak.lock();
      if (!state || state->abandoned.erase(id) > 0) return;
      state->pending.erase(id);
      state->replies.emplace(id, std::move(*answer));
    });
  });
  return id;
}

base::Result<base::Json> LibvirtMonitor::take_reply(std::uint64_t id, base::Deadline deadline) {
  const auto waited = reactor_.run_until([&] { return replied(id); }, deadline);
  if (const auto found = state_->replies.find(id); found != state_->replies.end()) {
    auto result = std::move(found->second);
    state_->replies.erase(found);
    return result;
  }
  if (state_->pending.erase(id) > 0) state_->abandoned.insert(id);
  if (waited == proc::Wait::interrupted) return base::fail(ErrorKind::interrupted, "interrupted while waiting for QMP");
  return base::fail(ErrorKind::timeout, "QMP did not answer in time through libvirt");
}

std::vector<qmp::Event> LibvirtMonitor::take_events() {
  std::vector<qmp::Event> taken(std::make_move_iterator(state_->events.begin()),
                                std::make_move_iterator(state_->events.end()));
  state_->events.clear();
  return taken;
}

bool LibvirtMonitor::find_event(const std::string& name, const std::string& key, const std::string& value) const {
  for (const qmp::Event& event : state_->events) {
    if (event.name != name) continue;
    if (key.empty() || base::json_get<std::string>(event.data, key, "") == value) return true;
  }
  return false;
}

}  // namespace migsoak::hypervisor
