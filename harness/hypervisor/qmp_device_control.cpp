#include "hypervisor/qmp_device_control.h"

#include <algorithm>

#include "base/text.h"
#include "hypervisor/device_type.h"

namespace migsoak::hypervisor {

using base::Error;
using base::ErrorKind;
using base::Json;
using base::Result;

namespace {

// "cache.direct" becomes {"cache": {"direct": …}}.
Json nested(const Properties& properties) {
  Json object = Json::object();
  for (const auto& [name, value] : properties) {
    Json* at = &object;
    for (const std::string& word : base::split(name, '.')) at = &(*at)[word];
    *at = value;
  }
  return object;
}

std::string text_of(const Properties& properties, const char* name) {
  for (const auto& [key, value] : properties) {
    if (key == name && value.is_string()) return value.get<std::string>();
  }
  return "";
}

// chardev-add has a shape of its own (qapi/char.json, ChardevBackend).
Json chardev_arguments(const Backend& backend) {
  const std::string type = text_of(backend.properties, "backend");
  Json data = Json::object();
  if (type == "socket") {
    data = {{"addr", {{"type", "unix"}, {"data", {{"path", text_of(backend.properties, "path")}}}}}, {"server", false}};
    for (const auto& [key, value] : backend.properties) {
      if (key.starts_with("reconnect") || key == "server") data[key] = value;
    }
  }
  return {{"id", backend.id}, {"backend", {{"type", type}, {"data", data}}}};
}

struct QmpCommand {
  std::string name;
  Json arguments;
};

QmpCommand make_command(const Backend& backend) {
  if (backend.option == "blockdev") return {"blockdev-add", nested(backend.properties)};
  if (backend.option == "chardev") return {"chardev-add", chardev_arguments(backend)};
  if (backend.option == "netdev") return {"netdev_add", nested(backend.properties)};
  return {"object-add", nested(backend.properties)};
}

QmpCommand drop_command(const Backend& backend) {
  if (backend.option == "blockdev") return {"blockdev-del", {{"node-name", backend.id}}};
  if (backend.option == "chardev") return {"chardev-remove", {{"id", backend.id}}};
  if (backend.option == "netdev") return {"netdev_del", {{"id", backend.id}}};
  return {"object-del", {{"id", backend.id}}};
}

// The command line takes "off" for a boolean property and 1 for a text; QMP does not (since QEMU 9.2 device_add is
// strict about types). The build says which type each property has.
Result<Json> device_arguments(qmp::Monitor& qmp, const Properties& frontend, base::Deadline deadline) {
  Json arguments = nested(frontend);
  const std::string driver = text_of(frontend, "driver");
  MIGSOAK_ASSIGN(const Json list, qmp.execute("device-list-properties", {{"typename", driver}}, deadline));
  for (const Json& property : list) {
    const auto at = arguments.find(base::json_get<std::string>(property, "name", ""));
    if (at == arguments.end()) continue;
    const auto type = base::json_get<std::string>(property, "type", "");
    if (type == "bool" && at->is_string()) {
      const auto text = at->get<std::string>();
      if (text == "on" || text == "off") *at = text == "on";
    } else if (type == "OnOffAuto" && at->is_boolean()) {
      *at = at->get<bool>() ? "on" : "off";
    } else if (type == "str" && at->is_number()) {
      *at = at->dump();
    } else if (at->is_string() && (type.starts_with("uint") || type.starts_with("int") || type == "size")) {
      const auto text = at->get<std::string>();
      const bool number =
          !text.empty() && text.find_first_not_of("0123456789") == std::string::npos && text.size() < 19;
      if (number) *at = std::stoll(text);
    }
  }
  return arguments;
}

bool backend_is_memory(const Backend& backend) {
  return backend.option == "object" && text_of(backend.properties, "qom-type").starts_with("memory-backend-");
}

// A block of the list that `info ramblock` prints (its columns: the name, 24 wide, then sizes) is about to be freed:
// its device took the name away, its RAM is still there.
bool has_nameless_block(const std::string& list) {
  constexpr std::size_t kNameColumns = 24;
  for (const std::string& line : base::split(list, '\n')) {
    const auto first = line.find_first_not_of(' ');
    if (first != std::string::npos && first >= kNameColumns) return true;
  }
  return false;
}

// RAM is freed later, by QEMU's RCU thread. Nothing but the list of RAM blocks tells when.
Result<void> wait_ram_freed(qmp::Monitor& qmp, const std::string& id, base::Deadline deadline) {
  for (;;) {
    MIGSOAK_ASSIGN(const Json blocks,
                   qmp.execute("human-monitor-command", {{"command-line", "info ramblock"}}, deadline));
    if (!blocks.is_string()) return {};
    const auto list = blocks.get<std::string>();
    if (list.find(id) == std::string::npos && !has_nameless_block(list)) return {};
    if (deadline.passed()) return base::fail(ErrorKind::timeout, "the RAM of " + id + " is not freed");
  }
}

// Backends from the last to the first; what is not there is not an error here: the caller has a better one.
void drop_quietly(qmp::Monitor& qmp, const std::vector<Backend>& backends, base::Deadline deadline) {
  for (auto it = backends.rbegin(); it != backends.rend(); ++it) {
    const QmpCommand command = drop_command(*it);
    (void)qmp.execute(command.name, command.arguments, deadline);
  }
}

}  // namespace

Result<void> QmpDeviceControl::plug(const DeviceSpec& device, base::Deadline deadline) {
  MIGSOAK_ASSIGN(const DeviceParts parts, device_parts(device));
  std::vector<Backend> made;
  for (const Backend& backend : parts.backends) {
    const QmpCommand command = make_command(backend);
    if (auto done = qmp_.execute(command.name, command.arguments, deadline); !done) {
      drop_quietly(qmp_, made, deadline);
      return tl::unexpected<Error>(done.error());
    }
    made.push_back(backend);
  }
  auto arguments = device_arguments(qmp_, parts.frontend, deadline);
  if (!arguments) {
    drop_quietly(qmp_, made, deadline);
    return tl::unexpected<Error>(arguments.error());
  }
  if (auto done = qmp_.execute("device_add", *arguments, deadline); !done) {
    drop_quietly(qmp_, made, deadline);
    return tl::unexpected<Error>(done.error());
  }
  return {};
}

Result<void> QmpDeviceControl::request_unplug(const std::string& id, base::Deadline deadline) {
  auto done = qmp_.execute("device_del", {{"id", id}}, deadline);
  if (!done) return tl::unexpected<Error>(done.error());
  return {};
}

bool QmpDeviceControl::unplugged(const std::string& id) const {
  return qmp_.has_event("DEVICE_DELETED", "device", id);
}

Result<bool> QmpDeviceControl::has_device(const std::string& id, base::Deadline deadline) {
  MIGSOAK_ASSIGN(const Json list, qmp_.execute("qom-list", {{"path", "/machine/peripheral"}}, deadline));
  return std::any_of(list.begin(), list.end(),
                     [&id](const Json& item) { return base::json_get<std::string>(item, "name", "") == id; });
}

Result<void> QmpDeviceControl::drop_backends(const DeviceSpec& device, base::Deadline deadline) {
  MIGSOAK_ASSIGN(const DeviceParts parts, device_parts(device));
  for (auto it = parts.backends.rbegin(); it != parts.backends.rend(); ++it) {
    const QmpCommand command = drop_command(*it);
    auto done = qmp_.execute(command.name, command.arguments, deadline);
    if (!done) return tl::unexpected<Error>(done.error());
    if (backend_is_memory(*it)) MIGSOAK_TRY(wait_ram_freed(qmp_, it->id, deadline));
  }
  return {};
}

}  // namespace migsoak::hypervisor
