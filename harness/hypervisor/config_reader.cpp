#include "hypervisor/config_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <functional>
#include <optional>

#include "base/text.h"
#include "hypervisor/config_commands.h"
#include "hypervisor/virtqueue_reader.h"
#include "pci/config_image.h"
#include "pci/fields.h"

namespace migsoak::hypervisor {

struct ReadFunction {
  ListedFunction listed;
  bool numbered_by_us = false;  // its bus has a number only for this reading
  pci::ConfigImage image;
};

namespace {

using Answers = std::vector<base::Result<base::Json>>;

constexpr std::uint16_t kAddressPort = 0xcf8, kDataPort = 0xcfc;
constexpr const char* kQ35HostBridge = "8086:29c0";  // 82G33 MCH
constexpr std::size_t kPciexbar = 0x60;
constexpr PciLocation kHostBridge{0, 0, 0};
constexpr std::size_t kBusNumbers = 0x18;
constexpr int kNumberingRoundsMax = 4;
constexpr int kBusesPerBridge = 8;
constexpr std::size_t kConventionalWords = pci::kConventionalBytes / 4;
constexpr std::size_t kExtendedWords = (pci::kExtendedBytes - pci::kConventionalBytes) / 4;
constexpr std::uint16_t kPcieCapability = 0x10;

bool has_pcie(const pci::ConfigImage& image) {
  const auto all = pci::capabilities(image);
  return std::any_of(all.begin(), all.end(), [](const auto& c) { return !c.extended && c.id == kPcieCapability; });
}

}  // namespace

struct ConfigReading::Impl {
  Impl(qmp::Client& client_in, ConfigReadRequest request_in) : client(client_in), request(std::move(request_in)) {}

  // Commands in flight, and what is to be done with their answers.
  struct Batch {
    std::vector<std::uint64_t> ids;
    std::function<void(Answers)> then;
  };
  struct Command {
    std::string name;
    base::Json arguments = base::Json::object();
  };
  void send(const std::vector<Command>& commands, std::function<void(Answers)> then);
  void send_lines(const std::vector<std::string>& lines, std::function<void(Answers)> then);
  bool answered(const Batch& batch) const;
  void take(std::size_t index, base::Deadline deadline);

  // The steps, in order.
  void begin();
  void on_devices(const base::Json& answer);
  bool number_bridges();
  void start_bytes();
  void on_ecam(const Answers& answers);
  void read_through_ecam(std::vector<std::string> before);
  void read_extended(const Answers& answers, std::size_t skip);
  std::string known_one_to_read() const;
  void read_through_ports();
  void put_back();
  std::vector<record::Document> documents() const;

  bool destination() const { return request.point == ReadPoint::destination; }
  std::string key_of(const ListedFunction& listed) const { return listed.function.path + ' ' + listed.function.device; }

  qmp::Client& client;
  ConfigReadRequest request;
  std::shared_ptr<ConfigReader::Memory> memory;
  std::shared_ptr<std::string> turn;
  int number = 0;    // of this reading
  bool due = false;  // for one that is known

  std::deque<Batch> batches;
  int sent = 0;
  std::optional<base::Error> failure;

  std::vector<ReadFunction> functions;
  std::string method = "none";
  std::optional<std::uint32_t> latch;
  std::uint64_t ecam = 0;
  std::optional<std::uint32_t> ecam_register;  // what it held before it was switched on
  int numbering_rounds = 0;
  std::vector<PciLocation> numbered;  // bridges that got bus numbers, outermost first
  VirtqueueAnswers virtqueues;
};

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
         on_devices(*answers[0]);
       });
  send({{"x-query-virtio", base::Json::object()}}, [this](const Answers& answers) {
    std::vector<Command> commands;
    if (answers[0]) {
      for (auto& [name, arguments] : virtqueues.commands_for(*answers[0])) commands.push_back({name, arguments});
    }
    if (commands.empty()) return;
    send(commands, [this](const Answers& queue_answers) { virtqueues.take(queue_answers); });
  });
}

void ConfigReading::Impl::on_devices(const base::Json& answer) {
  auto listed = parse_query_pci(answer);
  if (!listed) {
    failure = listed.error();
    return;
  }
  functions.clear();
  for (ListedFunction& function : *listed) {
    ReadFunction read;
    read.numbered_by_us = function.depth > 0 && numbering_rounds > 0;
    read.listed = std::move(function);
    functions.push_back(std::move(read));
  }
  if (destination() && latch && number_bridges()) return;
  start_bytes();
}

// A bridge without bus numbers hides what is behind it. Numbers are given outside in: each bridge on a root bus gets a
// range of its own, a bridge inside it the rest of that range.
bool ConfigReading::Impl::number_bridges() {
  if (numbering_rounds >= kNumberingRoundsMax) return false;
  std::vector<std::string> lines;
  int next_range = 1;
  for (const ReadFunction& read : functions) {
    const ListedFunction& listed = read.listed;
    if (!listed.bridge) continue;
    const int range = next_range;
    if (listed.depth == 0) next_range += kBusesPerBridge;
    if (listed.secondary_bus != 0) continue;
    const int first = listed.depth == 0 ? range : listed.at.bus + 1;
    const int last = listed.depth == 0 ? range + kBusesPerBridge - 1
                                       : (first - 1) / kBusesPerBridge * kBusesPerBridge + kBusesPerBridge;
    if (last > 255 || first > last) continue;
    numbered.push_back(listed.at);
    lines.push_back(write_port(kAddressPort, config_address(listed.at, kBusNumbers)));
    lines.push_back(write_port(kDataPort, static_cast<std::uint32_t>(listed.at.bus | first << 8 | last << 16)));
  }
  if (lines.empty()) return false;
  ++numbering_rounds;
  lines.push_back(write_port(kAddressPort, *latch));
  send_lines(lines, [](const Answers&) {});
  send({{"query-pci", base::Json::object()}}, [this](const Answers& answers) {
    if (!answers[0]) {
      failure = answers[0].error();
      return;
    }
    on_devices(*answers[0]);
  });
  return true;
}

void ConfigReading::Impl::start_bytes() {
  if (!latch) return;  // no x86 ports: BARs are all there is
  const auto host_bridge = std::find_if(functions.begin(), functions.end(), [](const ReadFunction& read) {
    return read.listed.function.path == "0000:00:00.0" && read.listed.function.device == kQ35HostBridge;
  });
  if (host_bridge == functions.end()) return read_through_ports();
  send_lines({write_port(kAddressPort, config_address(kHostBridge, kPciexbar)), read_port(kDataPort),
              write_port(kAddressPort, config_address(kHostBridge, kPciexbar + 4)), read_port(kDataPort),
              write_port(kAddressPort, *latch)},
             [this](const Answers& answers) { on_ecam(answers); });
}

void ConfigReading::Impl::on_ecam(const Answers& answers) {
  const auto low = answers[1] ? parse_port(*answers[1]) : std::nullopt;
  const auto high = answers[3] ? parse_port(*answers[3]) : std::nullopt;
  if (!low || !high) return read_through_ports();
  ecam = ecam_base(*low, *high);
  if ((*low & 1) != 0) return read_through_ecam({});
  if (!destination()) return read_through_ports();  // firmware that did not switch it on
  ecam_register = *low;
  read_through_ecam({write_port(kAddressPort, config_address(kHostBridge, kPciexbar)), write_port(kDataPort, *low | 1),
                     write_port(kAddressPort, *latch)});
}

void ConfigReading::Impl::read_through_ecam(std::vector<std::string> before) {
  method = "ecam";
  const std::size_t skip = before.size();
  std::vector<std::string> lines = std::move(before);
  for (const ReadFunction& read : functions) {
    lines.push_back(read_physical(ecam_address(ecam, read.listed.at), kConventionalWords));
  }
  send_lines(lines, [this, skip](const Answers& answers) { read_extended(answers, skip); });
}

// Only express functions have more than 256 bytes.
void ConfigReading::Impl::read_extended(const Answers& answers, std::size_t skip) {
  std::vector<std::string> lines;
  std::vector<std::size_t> express;
  for (std::size_t i = 0; i < functions.size(); ++i) {
    const auto& answer = answers[skip + i];
    std::vector<std::uint8_t> bytes = answer ? parse_physical(*answer) : std::vector<std::uint8_t>{};
    if (bytes.size() != pci::kConventionalBytes) continue;
    functions[i].image = pci::ConfigImage(std::move(bytes));
    if (!has_pcie(functions[i].image)) continue;
    express.push_back(i);
    lines.push_back(
        read_physical(ecam_address(ecam, functions[i].listed.at) + pci::kConventionalBytes, kExtendedWords));
  }
  if (lines.empty()) return put_back();
  send_lines(lines, [this, express](const Answers& more) {
    for (std::size_t i = 0; i < express.size(); ++i) {
      const std::vector<std::uint8_t> rest = more[i] ? parse_physical(*more[i]) : std::vector<std::uint8_t>{};
      const pci::ConfigImage& image = functions[express[i]].image;
      if (rest.size() != pci::kExtendedBytes - pci::kConventionalBytes) continue;
      std::vector<std::uint8_t> whole = image.bytes();
      whole.insert(whole.end(), rest.begin(), rest.end());
      // All ones: a conventional function behind an express bridge.
      if (pci::ConfigImage(whole).u32(pci::kConventionalBytes) == 0xffffffff) continue;
      functions[express[i]].image = pci::ConfigImage(std::move(whole));
    }
    put_back();
  });
}

// Key of the function that is read although it is known; empty: none.
std::string ConfigReading::Impl::known_one_to_read() const {
  if (!destination()) return *turn;
  std::string oldest;
  int oldest_number = number;
  for (const ReadFunction& read : functions) {
    const auto known = memory->last_read.find(key_of(read.listed));
    if (!due || known == memory->last_read.end() || known->second >= oldest_number) continue;
    oldest = known->first;
    oldest_number = known->second;
  }
  return oldest;
}

void ConfigReading::Impl::read_through_ports() {
  method = "ports";
  const std::string again = known_one_to_read();
  if (destination()) *turn = again;
  std::vector<std::size_t> wanted;
  std::vector<std::string> lines;
  for (std::size_t i = 0; i < functions.size(); ++i) {
    const ListedFunction& listed = functions[i].listed;
    const std::string key = key_of(listed);
    if (!request.all_bytes && key != again && memory->last_read.count(key) > 0) continue;
    wanted.push_back(i);
    for (std::size_t offset = 0; offset < pci::kConventionalBytes; offset += 4) {
      lines.push_back(write_port(kAddressPort, config_address(listed.at, offset)));
      lines.push_back(read_port(kDataPort));
    }
  }
  if (lines.empty()) return put_back();
  lines.push_back(write_port(kAddressPort, *latch));
  send_lines(lines, [this, wanted](const Answers& answers) {
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      pci::ConfigImage image(pci::kConventionalBytes);
      bool whole = true;
      for (std::size_t word = 0; word < kConventionalWords; ++word) {
        const auto& answer = answers[2 * (i * kConventionalWords + word) + 1];
        const auto value = answer ? parse_port(*answer) : std::nullopt;
        whole = whole && value;
        if (value) image.set_u32(4 * word, *value);
      }
      if (!whole) continue;
      functions[wanted[i]].image = std::move(image);
      memory->last_read[key_of(functions[wanted[i]].listed)] = number;
    }
    put_back();
  });
}

// What was switched on to read is switched off again, and does not show in the images.
void ConfigReading::Impl::put_back() {
  std::vector<std::string> lines;
  if (ecam_register) {
    lines.push_back(write_port(kAddressPort, config_address(kHostBridge, kPciexbar)));
    lines.push_back(write_port(kDataPort, *ecam_register));
  }
  // Innermost first: once its bridge has no number, what is behind can't be reached.
  for (auto at = numbered.rbegin(); at != numbered.rend(); ++at) {
    lines.push_back(write_port(kAddressPort, config_address(*at, kBusNumbers)));
    lines.push_back(write_port(kDataPort, 0));
  }
  for (ReadFunction& read : functions) {
    const PciLocation at = read.listed.at;
    if (ecam_register && read.listed.function.path == "0000:00:00.0") read.image.set_u32(kPciexbar, *ecam_register);
    const bool was_numbered = std::any_of(numbered.begin(), numbered.end(), [&](PciLocation other) {
      return other.bus == at.bus && other.slot == at.slot && other.function == at.function;
    });
    if (was_numbered) {
      for (std::size_t i = 0; i < 3; ++i) read.image.set_u8(kBusNumbers + i, 0);
    }
  }
  if (lines.empty()) return;
  lines.push_back(write_port(kAddressPort, *latch));
  send_lines(lines, [](const Answers&) {});
}

std::vector<record::Document> ConfigReading::Impl::documents() const {
  record::ConfigSpace space;
  space.method = method;
  for (const ReadFunction& read : functions) {
    record::ConfigFunction function = read.listed.function;
    if (read.numbered_by_us) function.address.clear();
    function.size = static_cast<std::int64_t>(read.image.size());
    function.bytes = pci::to_hex(read.image);
    space.functions.push_back(std::move(function));
  }
  std::sort(space.functions.begin(), space.functions.end(),
            [](const auto& a, const auto& b) { return a.path < b.path; });
  const char* point = destination() ? "destination" : "source";
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

int ConfigReading::commands_sent() const {
  return impl_->sent;
}

std::unique_ptr<ConfigReading> ConfigReader::begin(qmp::Client& client, ConfigReadRequest request) {
  auto& memory = memories_[(request.point == ReadPoint::source ? "source " : "destination ") + request.side];
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
