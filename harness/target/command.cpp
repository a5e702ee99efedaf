// Any vhost-user backend by its command line; it listens on the one socket that `{socket}` names.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "target/listening_target.h"

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

}  // namespace

base::Result<CommandLine> any_command(const TargetSpec& spec) {
  if (spec.argv.empty()) return base::fail(base::ErrorKind::bad_input, "kind \"command\" needs argv");
  const bool names_socket = std::any_of(spec.argv.begin(), spec.argv.end(), [](const std::string& word) {
    return word.find("{socket}") != std::string::npos;
  });
  if (!names_socket) {
    return base::fail(base::ErrorKind::bad_input, "argv does not say where to listen: it needs the word {socket}");
  }
  if (spec.disks.size() != 1) {
    return base::fail(base::ErrorKind::bad_input,
                      "kind \"command\" serves one disk: it has one {socket} and one {image}");
  }
  MIGSOAK_ASSIGN(std::string path, socket_path(spec, ".sock"));
  const std::array<std::pair<std::string, std::string>, 3> values{
      {{"{socket}", path}, {"{image}", spec.disks.front().image}, {"{run_dir}", spec.run_dir}}};
  CommandLine command{{}, {{"", path}}, true};
  for (const std::string& word : spec.argv) command.argv.push_back(substitute(word, values));
  return command;
}

}  // namespace migsoak::target
