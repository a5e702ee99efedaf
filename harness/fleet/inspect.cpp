#include "fleet/inspect.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <array>
// GCC 12 sees a null dereference in asio's inlined scheduler, a false positive (see qmp/connection.h).
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wnull-dereference"
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#pragma GCC diagnostic pop
#include <cerrno>
#include <memory>

#include "base/text.h"
#include "base/unique_fd.h"
#include "proc/child_process.h"
#include "proc/program.h"

namespace migsoak::fleet {

using base::ErrorKind;
using base::Json;
using base::Result;

namespace {

constexpr std::size_t kAnswerBytesMax = 32u << 20;  // 11.1's whole schema is 0.6 MiB
constexpr std::string_view kVersionLine = "QEMU emulator version ";
constexpr std::chrono::seconds kOneAnswerMax{20};

std::string first_line(const std::string& text) {
  return base::printable(text.substr(0, text.find('\n')), 200);
}

tl::unexpected<base::Error> not_a_qemu(const std::string& path, const std::string& why) {
  return base::fail(ErrorKind::bad_input, fmt::format("'{}' is not a QEMU: {}", base::printable(path), why));
}

// What came over QMP so far; shared with the handler in flight.
struct Answers : std::enable_shared_from_this<Answers> {
  explicit Answers(boost::asio::io_context& io) : socket(io) {}
  void read_more() {
    socket.async_read_some(boost::asio::buffer(buffer), [self = shared_from_this()](const auto& error, std::size_t n) {
      self->bytes.append(self->buffer.data(), n);
      self->closed = static_cast<bool>(error) || self->bytes.size() > kAnswerBytesMax;
      if (!self->closed) self->read_more();
    });
  }
  boost::asio::local::stream_protocol::socket socket;
  std::array<char, 64u << 10> buffer{};
  std::string bytes;
  bool closed = false;
};

struct ChildRequest {
  std::vector<std::string> argv;  // up to and with the build's own args
  std::map<std::string, std::string> env;
};

Result<proc::CommandOutput> ask_text(const Host& host, const ChildRequest& request, std::vector<std::string> words,
                                     base::Deadline deadline) {
  proc::SpawnSpec spec;
  spec.name = "qemu " + base::join(words, " ");
  spec.argv = request.argv;
  spec.argv.insert(spec.argv.end(), words.begin(), words.end());
  spec.env = request.env;
  return proc::run_command(host.reactor, host.containment, spec, base::Deadline::in(kOneAnswerMax).sooner(deadline));
}

struct Question {
  std::string command;
  Json arguments = Json::object();
};

// Replies by command. All questions go out at once: a socket's buffer holds them.
Result<std::map<std::string, Json>> ask_qmp(const Host& host, const ChildRequest& request,
                                            const std::vector<Question>& questions, base::Deadline deadline) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0)
    return base::fail_errno("socketpair", errno);
  base::UniqueFd ours(ends[0]);
  base::UniqueFd theirs(ends[1]);
  proc::SpawnSpec spec;
  spec.name = "qemu -machine none";
  spec.argv = request.argv;
  for (const char* word : {"-no-user-config", "-nodefaults", "-machine", "none", "-display", "none", "-chardev",
                           "socket,id=inspect,fd=3", "-mon", "chardev=inspect,mode=control"})
    spec.argv.emplace_back(word);
  spec.env = request.env;
  spec.extra_fds = {{3, theirs.get()}};
  MIGSOAK_ASSIGN(const auto child, proc::ChildProcess::spawn(host.reactor, host.containment, spec));
  theirs.reset();
  std::string text = R"({"execute":"qmp_capabilities"})";
  for (const Question& one : questions) {
    text += "\n" + Json{{"execute", one.command}, {"arguments", one.arguments}, {"id", one.command}}.dump();
  }
  text += "\n";
  // One that has already gone is told by the answers that do not come.
  const auto sent = ::send(ours.get(), text.data(), text.size(), MSG_NOSIGNAL);
  if (sent != static_cast<ssize_t>(text.size()) && errno != EPIPE) return base::fail_errno("writing QMP", errno);
  const auto answers = std::make_shared<Answers>(host.reactor.io());
  answers->socket.assign(boost::asio::local::stream_protocol(), ours.release());
  answers->read_more();
  std::map<std::string, Json> replies;
  std::size_t parsed = 0;
  const auto all_there = [&] {
    for (auto end = answers->bytes.find('\n', parsed); end != std::string::npos;
         end = answers->bytes.find('\n', parsed)) {
      if (auto line = base::parse_json(std::string_view(answers->bytes).substr(parsed, end - parsed)))
        if (const auto id = base::json_get(*line, "id", std::string()); !id.empty()) replies[id] = std::move(*line);
      parsed = end + 1;
    }
    return replies.size() == questions.size() || answers->closed;
  };
  const auto waited = host.reactor.run_until(all_there, base::Deadline::in(kOneAnswerMax).sooner(deadline));
  boost::system::error_code ignored;
  answers->socket.close(ignored);
  host.reactor.poll();
  if (waited == proc::Wait::interrupted)
    return base::fail(ErrorKind::interrupted, "stopped while asking a QEMU what it is");
  if (replies.size() != questions.size()) {
    child->stop(std::chrono::milliseconds(0));
    const auto lines = child->last_lines();
    return base::fail(ErrorKind::subject, fmt::format("QMP gave {} of {} answers{}", replies.size(), questions.size(),
                                                      lines.empty() ? "" : "; its last line: " + lines.back()));
  }
  return replies;
}

struct VersionLine {
  std::string full;
  std::string version;
};

Result<VersionLine> ask_version(const Host& host, const ChildRequest& request, const std::string& path,
                                base::Deadline deadline) {
  const auto refuse = [&](const std::string& why) {
    return not_a_qemu(path, fmt::format("{}; expected `--version` to print '{}X.Y.Z'", why, kVersionLine));
  };
  const auto output = ask_text(host, request, {"--version"}, deadline);
  if (!output) {
    if (output.error().kind == ErrorKind::interrupted) return tl::unexpected<base::Error>(output.error());
    if (output.error().kind == ErrorKind::timeout) return refuse("it did not answer `--version` in time");
    // The file is there and executable, so a failed exec (ENOEXEC, missing interpreter) is the file's fault.
    return refuse("it can't be run: " + output.error().message);
  }
  const std::string first = first_line(output->out);
  if (!output->status.success()) {
    return refuse(fmt::format("`--version` ended with {}{}", proc::to_string(output->status),
                              first.empty() ? "" : " and said '" + first + "'"));
  }
  // A wrapper script may print something first.
  const auto at = output->out.find(kVersionLine);
  if (at == std::string::npos || (at > 0 && output->out[at - 1] != '\n'))
    return refuse(first.empty() ? "`--version` printed nothing" : "`--version` printed '" + first + "'");
  VersionLine line;
  line.full = first_line(output->out.substr(at));
  const std::string rest = line.full.substr(kVersionLine.size());
  line.version = rest.substr(0, rest.find_first_not_of("0123456789."));
  if (line.version.empty()) return refuse("`--version` printed '" + line.full + "'");
  return line;
}

// How the build is started to be asked in passing.
ChildRequest request_for(const Build& build) {
  ChildRequest request{{build.binary}, build.env};
  request.argv.insert(request.argv.end(), build.args.begin(), build.args.end());
  return request;
}

// What it prints; empty when it can't be asked. Errors: interrupted.
Result<std::string> ask_leniently(const Host& host, const Build& build, std::vector<std::string> words,
                                  base::Deadline deadline) {
  const auto output = ask_text(host, request_for(build), std::move(words), deadline);
  if (!output && output.error().kind == ErrorKind::interrupted) return tl::unexpected<base::Error>(output.error());
  return output && output->status.success() ? output->out : std::string();
}

void read_machines(const Json& reply, Build& build) {
  for (const Json& row : base::json_get(reply, "return", Json::array())) {
    MachineType type{base::json_get(row, "name", std::string()), base::json_get(row, "alias", std::string()),
                     base::json_get(row, "deprecated", false), base::json_get(row, "is-default", false)};
    if (!type.name.empty()) build.machines.push_back(std::move(type));
  }
}

const Json* schema_entity(const Json& schema, const std::string& name) {
  for (const Json& entity : schema) {
    if (base::json_get(entity, "name", std::string()) == name) return &entity;
  }
  return nullptr;
}

// The type of a member of an object type; empty when there is none.
std::string member_type(const Json& schema, const std::string& object, const std::string& member) {
  const Json* entity = schema_entity(schema, object);
  if (entity == nullptr) return "";
  for (const Json& row : base::json_get(*entity, "members", Json::array())) {
    if (base::json_get(row, "name", std::string()) == member) return base::json_get(row, "type", std::string());
  }
  return "";
}

}  // namespace

std::string binary_stamp(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return "";
  return fmt::format("{}:{}", status.st_size,
                     static_cast<long long>(status.st_mtim.tv_sec) * 1'000'000'000 + status.st_mtim.tv_nsec);
}

std::vector<DeviceType> parse_device_help(std::string_view text) {
  std::vector<DeviceType> types;
  const auto between = [](std::string_view line, std::string_view before, char after) {
    const auto at = line.find(before);
    if (at == std::string_view::npos) return std::string();
    line.remove_prefix(at + before.size());
    return std::string(line.substr(0, line.find(after)));
  };
  for (const std::string& line : base::split(text, '\n')) {
    if (!line.starts_with("name \"")) continue;
    // The description is free text and comes last.
    const std::string fields = line.substr(0, line.find(", desc \""));
    types.push_back(
        {between(fields, "name \"", '"'), between(fields, ", bus ", ','), between(fields, ", alias \"", '"')});
  }
  return types;
}

std::vector<std::string> enum_values(const Json& schema, const std::string& command, const std::string& member,
                                     const std::string& array_argument) {
  const Json* entity = schema_entity(schema, command);
  if (entity == nullptr) return {};
  std::string object = base::json_get(*entity, "arg-type", std::string());
  if (!array_argument.empty()) {
    const Json* array = schema_entity(schema, member_type(schema, object, array_argument));
    object = array != nullptr ? base::json_get(*array, "element-type", std::string()) : "";
  }
  const Json* values = schema_entity(schema, member_type(schema, object, member));
  std::vector<std::string> names;
  if (values == nullptr) return names;
  for (const Json& value : base::json_get(*values, "values", Json::array())) {
    if (value.is_string()) names.push_back(value.get<std::string>());
  }
  return names;
}

Result<Build> inspect_through(const Host& host, const std::vector<std::string>& launcher, const LocalBuild& local,
                              base::Deadline deadline) {
  Build build;
  MIGSOAK_ASSIGN(const std::string program, proc::find_program(local.path));
  build.binary = proc::without_links(program);
  build.args = local.args;
  build.env = local.env;
  build.stamp = binary_stamp(build.binary);
  ChildRequest request{launcher, local.env};
  request.argv.push_back(build.binary);
  request.argv.insert(request.argv.end(), local.args.begin(), local.args.end());
  MIGSOAK_ASSIGN(const VersionLine line, ask_version(host, request, local.path, deadline));
  build.version = line.version;
  MIGSOAK_ASSIGN(const auto help, ask_text(host, request, {"-device", "help"}, deadline));
  build.devices = parse_device_help(help.out);
  auto replies = ask_qmp(host, request, {{"query-machines"}, {"query-qmp-schema"}}, deadline);
  if (!replies && replies.error().kind == ErrorKind::subject)
    return not_a_qemu(local.path, "it says version " + build.version + ", but " + replies.error().message);
  if (!replies) return tl::unexpected<base::Error>(replies.error());
  read_machines(replies->at("query-machines"), build);
  const Json schema = base::json_get(replies->at("query-qmp-schema"), "return", Json::array());
  build.modes = enum_values(schema, "migrate-set-parameters", "mode");
  // Builds before the parameter have the one mode that it calls normal.
  if (build.modes.empty()) build.modes = {"normal"};
  build.capabilities = enum_values(schema, "migrate-set-capabilities", "capability", "capabilities");
  if (build.machines.empty() || build.devices.empty())
    return not_a_qemu(local.path, fmt::format("it names {} machine types and {} devices: {}", build.machines.size(),
                                              build.devices.size(), base::printable(help.out, 200)));
  return build;
}

Result<Build> inspect_build(const Host& host, const LocalBuild& local, base::Deadline deadline) {
  return inspect_through(host, {}, local, deadline);
}

Result<Identity> identify(const Host& host, const std::string& qemu, base::Deadline deadline) {
  MIGSOAK_ASSIGN(const std::string program, proc::find_program(qemu));
  Identity identity;
  identity.path = proc::without_links(program);
  MIGSOAK_ASSIGN(VersionLine line, ask_version(host, {{identity.path}, {}}, qemu, deadline));
  identity.full = std::move(line.full);
  identity.version = std::move(line.version);
  identity.package = package_of(host, identity.path, deadline);
  return identity;
}

Result<std::vector<std::string>> machine_names(const Host& host, const Build& build, base::Deadline deadline) {
  std::vector<std::string> names;
  for (const MachineType& type : build.machines) {
    names.push_back(type.name);
    if (!type.alias.empty()) names.push_back(type.alias);
  }
  if (!names.empty()) return names;
  MIGSOAK_ASSIGN(const std::string help, ask_leniently(host, build, {"-machine", "help"}, deadline));
  // "Supported machines are:", then "q35    Standard PC (…) (alias of …)".
  for (const std::string& line : base::split(help, '\n')) {
    const auto space = line.find(' ');
    if (space != std::string::npos && !line.ends_with(':')) names.push_back(line.substr(0, space));
  }
  return names;
}

Result<std::vector<DeviceType>> device_types(const Host& host, const Build& build, base::Deadline deadline) {
  if (!build.devices.empty()) return build.devices;
  MIGSOAK_ASSIGN(const std::string help, ask_leniently(host, build, {"-device", "help"}, deadline));
  return parse_device_help(help);
}

Result<std::vector<std::string>> device_properties(const Host& host, const Build& build, const std::string& driver,
                                                   base::Deadline deadline) {
  MIGSOAK_ASSIGN(const std::string help, ask_leniently(host, build, {"-device", driver + ",help"}, deadline));
  std::vector<std::string> names;
  // "virtio-blk-pci options:", then "  name=<type>  - description (default: …)"
  for (const std::string& line : base::split(help, '\n')) {
    const auto begin = line.find_first_not_of(' ');
    const auto end = line.find("=<");
    if (begin != std::string::npos && begin > 0 && end != std::string::npos) {
      names.push_back(line.substr(begin, end - begin));
    }
  }
  return names;
}

Result<std::vector<CompatProperty>> compat_properties(const Host& host, const Build& build, const std::string& machine,
                                                      base::Deadline deadline) {
  MIGSOAK_ASSIGN(const auto replies,
                 ask_qmp(host, request_for(build), {{"query-machines", {{"compat-props", true}}}}, deadline));
  const std::string type = machine.substr(0, machine.find(','));
  for (const Json& one : base::json_get(replies.at("query-machines"), "return", Json::array())) {
    if (base::json_get(one, "name", std::string()) != type && base::json_get(one, "alias", std::string()) != type) {
      continue;
    }
    const auto list = one.find("compat-props");
    if (list == one.end() || !list->is_array()) break;
    std::vector<CompatProperty> properties;
    for (const Json& item : *list) {
      properties.push_back({base::printable(base::json_get(item, "qom-type", std::string())),
                            base::printable(base::json_get(item, "property", std::string())),
                            base::printable(base::json_get(item, "value", std::string()))});
    }
    return properties;
  }
  return base::fail(ErrorKind::subject, fmt::format("{} does not tell what {} sets on devices", build.binary, type));
}

std::string package_of(const Host& host, const std::string& path, base::Deadline deadline) {
  if (!proc::find_program("dpkg-query")) return "";
  proc::SpawnSpec search;
  search.name = "dpkg-query";
  search.argv = {"dpkg-query", "-S", path};
  const auto found = proc::run_command(host.reactor, host.containment, search, deadline);
  if (!found || !found->status.success()) return "";
  // "qemu-system-x86: /usr/bin/qemu-system-x86_64"; diversions print lines of other shapes.
  const auto colon = found->out.find(": /");
  if (colon == std::string::npos || found->out.find_first_of(" \n") < colon) return "";
  proc::SpawnSpec show;
  show.name = "dpkg-query";
  show.argv = {"dpkg-query", "-W", "-f", "${Package} ${Version}\n", found->out.substr(0, colon)};
  const auto shown = proc::run_command(host.reactor, host.containment, show, deadline);
  return shown && shown->status.success() ? first_line(shown->out) : "";
}

}  // namespace migsoak::fleet
