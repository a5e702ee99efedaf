#include "hypervisor/config_reader.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "hypervisor/config_reading.h"

namespace migsoak::hypervisor {

void ConfigReading::Impl::send(const std::vector<Command>& commands, std::function<void(Answers)> then) {
  Batch batch;
  batch.then = std::move(then);
  for (const Command& command : commands) batch.ids.push_back(client.send(command.name, command.arguments));
  sent += static_cast<int>(commands.size());
  batches.push_back(std::move(batch));
}

void ConfigReading::Impl::send_lines(const std::vector<std::string>& lines, std::function<void(Answers)> then) {
  std::vector<Command> commands;
  commands.reserve(lines.size());
  for (const std::string& line : lines) commands.push_back({"human-monitor-command", {{"command-line", line}}});
  send(commands, std::move(then));
}

bool ConfigReading::Impl::answered(const Batch& batch) const {
  return std::all_of(batch.ids.begin(), batch.ids.end(), [&](std::uint64_t id) { return client.replied(id); });
}

void ConfigReading::Impl::take(std::size_t index, base::Deadline deadline) {
  Batch batch = std::move(batches[index]);
  batches.erase(batches.begin() + static_cast<std::ptrdiff_t>(index));
  Answers answers;
  answers.reserve(batch.ids.size());
  for (const std::uint64_t id : batch.ids) {
    answers.push_back(client.take_reply(id, deadline));
    const auto& answer = answers.back();
    if (!answer && answer.error().kind != base::ErrorKind::subject && !failure) failure = answer.error();
  }
  if (!failure) batch.then(std::move(answers));
}

void ConfigReading::Impl::begin() {
  if (request.running) {
    send({{"query-pci", base::Json::object()}}, [this](const Answers& answers) {
      if (answers[0]) return on_devices(*answers[0]);
      failure = answers[0].error();
    });
    return;
  }
  send({{"query-pci", base::Json::object()}, {"human-monitor-command", {{"command-line", read_port(kAddressPort)}}}},
       [this](const Answers& answers) {
         if (!answers[0]) {
           failure = answers[0].error();
           return;
         }
         if (answers[1]) latch = parse_port(*answers[1]);
         if (!latch) miss("config-space", "no bytes: the port of the address register could not be read");
         on_devices(*answers[0]);
       });
  send({{"x-query-virtio", base::Json::object()}}, [this](const Answers& answers) {
    std::vector<Command> commands;
    // A build before 7.2 does not know the command.
    const bool unknown = !answers[0] && answers[0].error().describe().find("CommandNotFound") != std::string::npos &&
                         !request.tells_virtqueues;
    if (!answers[0] && !unknown) miss("virtqueues", answers[0].error().describe());
    if (answers[0]) {
      for (auto& [name, arguments] : virtqueues.commands_for(*answers[0])) commands.push_back({name, arguments});
    }
    if (answers[0] && !virtqueues.result()) miss("virtqueues", "more devices than the reader takes, or no list");
    if (commands.empty()) return;
    send(commands, [this](const Answers& queue_answers) {
      if (const std::string why = virtqueues.take(queue_answers); !why.empty()) miss("virtqueues", why);
    });
  });
}

std::vector<record::Document> ConfigReading::Impl::documents() const {
  record::ConfigSpace space;
  space.method = method;
  for (const ReadFunction& read : functions) {
    record::ConfigFunction function = read.listed.function;
    if (read.numbered_by_us) function.address.clear();
    function.size = static_cast<std::int64_t>(read.image.size());
    function.bytes = pci::to_hex(read.image);
    function.device_config = pci::to_hex(read.device_config);
    space.functions.push_back(std::move(function));
  }
  std::sort(space.functions.begin(), space.functions.end(),
            [](const auto& a, const auto& b) { return a.path < b.path; });
  const char* point = to_string(request.point);
  std::vector<record::Document> made;
  made.push_back(
      {record::document_kind::kConfigSpace, request.subject, request.process_id, point, record::to_json(space)});
  if (const auto queues = virtqueues.result()) {
    made.push_back(
        {record::document_kind::kVirtqueues, request.subject, request.process_id, point, record::to_json(*queues)});
  }
  return made;
}

ConfigReading::ConfigReading(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ConfigReading::~ConfigReading() = default;
void ConfigReading::advance() {
  for (std::size_t i = 0; i < impl_->batches.size();) {
    if (impl_->failure || !impl_->answered(impl_->batches[i])) {
      ++i;
      continue;
    }
    impl_->take(i, base::Deadline::in(std::chrono::milliseconds(0)));
    i = 0;
  }
}

bool ConfigReading::done() const {
  return impl_->batches.empty() || impl_->failure;
}

base::Result<std::vector<record::Document>> ConfigReading::finish(base::Deadline deadline) {
  while (!done()) impl_->take(0, deadline);
  if (impl_->failure) {
    return tl::unexpected<base::Error>(
        base::Error(*impl_->failure).with_context("configuration space of " + impl_->request.subject));
  }
  return impl_->documents();
}

const ConfigReadRequest& ConfigReading::request() const {
  return impl_->request;
}

const std::vector<MissedRead>& ConfigReading::missed() const {
  return impl_->missed;
}

int ConfigReading::commands_sent() const {
  return impl_->sent;
}

const char* to_string(ReadPoint point) {
  switch (point) {
    case ReadPoint::source: return "source";
    case ReadPoint::destination: return "destination";
    case ReadPoint::arrived: return "arrived";
  }
  return "";
}

std::unique_ptr<ConfigReading> ConfigReader::begin(qmp::Monitor& client, ConfigReadRequest request) {
  auto& memory = memories_[std::string(to_string(request.point)) + ' ' + request.side];
  if (!memory) memory = std::make_shared<Memory>();
  auto impl = std::make_unique<ConfigReading::Impl>(client, std::move(request));
  impl->number = memory->readings++;
  impl->due = impl->number % std::max(rule_.every, 1) == 0;
  impl->memory = memory;
  impl->turn = turn_;
  std::unique_ptr<ConfigReading> reading(new ConfigReading(std::move(impl)));
  reading->impl_->begin();
  return reading;
}

}  // namespace migsoak::hypervisor
