// command: any vhost-user backend by its command line; it listens on the one socket that `{socket}` names.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "target/target_kind.h"

namespace migsoak::target {

namespace {

// One pass, so that a path which happens to hold "{image}" is not expanded again.
std::string substitute(const std::string& word, const std::array<std::pair<std::string, std::string>, 3>& values) {
  std::string out;
  std::size_t at = 0;
  while (at < word.size()) {
    const auto hit = std::find_if(values.begin(), values.end(), [&](const auto& value) {
      return word.compare(at, value.first.size(), value.first) == 0;
    });
    if (hit == values.end()) {
      out += word[at++];
    } else {
      out += hit->second;
      at += hit->first.size();
    }
  }
  return out;
}

base::Result<Layout> lay_out_command(const TargetSpec& spec, const OptionValues& options) {
  const std::vector<std::string> argv = options.words("argv");
  const bool names_socket = std::any_of(
      argv.begin(), argv.end(), [](const std::string& word) { return word.find("{socket}") != std::string::npos; });
  if (!names_socket) {
    return base::fail(base::ErrorKind::bad_input, "argv does not say where to listen: it needs the word {socket}");
  }
  const ServedDevice& device = spec.devices.front();
  MIGSOAK_ASSIGN(const std::string path, socket_path(spec, ".sock"));
  const std::array<std::pair<std::string, std::string>, 3> values{
      {{"{socket}", path}, {"{image}", device.image}, {"{run_dir}", spec.run_dir}}};
  Layout layout;
  for (const std::string& word : argv) layout.argv.push_back(substitute(word, values));
  for (const std::string& slot : spec.slots) {
    layout.endpoints[endpoint_key(device.id, slot)] = {device.type, path, Listener::target};
  }
  return layout;
}

}  // namespace

TargetKind target_kind_command() {
  TargetKind kind{};
  kind.name = "command";
  kind.summary = "any vhost-user backend, by argv with {socket}, {image} and {run_dir} filled in";
  kind.options = {{"argv", OptionType::command, nullptr, {}, 0, 0},
                  {"ends_with_client", OptionType::boolean, false, {}, 0, 0}};
  kind.serves = {EndpointType::block, EndpointType::net, EndpointType::fs};
  kind.devices_max = 1;  // it has one {socket} and one {image}
  kind.lay_out = lay_out_command;
  kind.ends_with_client = [](const OptionValues& options) { return options.flag("ends_with_client"); };
  return kind;
}

}  // namespace migsoak::target
