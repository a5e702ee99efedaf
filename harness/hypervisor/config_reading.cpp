// What is read of a machine's configuration space, step by step: through ECAM where there is one, else through the
// ports.
#include "hypervisor/config_reading.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "pci/fields.h"

namespace migsoak::hypervisor {

namespace {

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
  choose_turn();
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
    if (bytes.size() != pci::kConventionalBytes) {
      miss("config-space", "no bytes of " + functions[i].listed.function.path + " through ECAM");
      continue;
    }
    functions[i].image = pci::ConfigImage(std::move(bytes));
    if (!has_pcie(functions[i].image)) continue;
    express.push_back(i);
    lines.push_back(
        read_physical(ecam_address(ecam, functions[i].listed.at) + pci::kConventionalBytes, kExtendedWords));
  }
  if (lines.empty()) return read_device_configs();
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
    read_device_configs();
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

void ConfigReading::Impl::choose_turn() {
  again = known_one_to_read();
  if (destination()) *turn = again;
}

bool ConfigReading::Impl::has_turn(const ListedFunction& listed) const {
  const std::string key = key_of(listed);
  return request.all_bytes || key == again || memory->last_read.count(key) == 0;
}

void ConfigReading::Impl::read_through_ports() {
  method = "ports";
  choose_turn();
  std::vector<std::size_t> wanted;
  std::vector<std::string> lines;
  for (std::size_t i = 0; i < functions.size(); ++i) {
    const ListedFunction& listed = functions[i].listed;
    if (!has_turn(listed)) continue;
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
      if (!whole) {
        miss("config-space", "no bytes of " + functions[wanted[i]].listed.function.path + " through the ports");
        continue;
      }
      functions[wanted[i]].image = std::move(image);
    }
    read_device_configs();
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

}  // namespace migsoak::hypervisor
