#include "guest/answers.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/text.h"

namespace migsoak::guest {

namespace {

constexpr std::size_t kDisksMax = 256;
constexpr std::size_t kFunctionsMax = 4096;
constexpr std::size_t kConfigBytesMax = 4096;
constexpr std::size_t kFieldsMax = 24;
// Beyond this a JSON number is not exact, and no count of ours comes near.
constexpr double kCountMax = 9007199254740992.0;  // 2^53

}  // namespace

std::uint64_t count_of(const base::Json& object, std::string_view key) {
  const auto it = object.find(key);
  if (it == object.end() || !it->is_number()) return 0;
  const double value = it->get<double>();
  if (!(value > 0)) return 0;
  return static_cast<std::uint64_t>(std::min(value, kCountMax));
}

double milliseconds_of(const base::Json& object, std::string_view key) {
  const auto it = object.find(key);
  if (it == object.end() || !it->is_number()) return 0;
  const double value = it->get<double>();
  return std::isfinite(value) ? std::clamp(value, 0.0, 1e12) : 0;
}

std::string name_of(const base::Json& object, std::string_view key) {
  return base::printable(base::json_get(object, key, std::string()), 64);
}

namespace {

// The flat object that describes the first bad page or block.
base::Json first_of(const base::Json& object) {
  base::Json first = base::Json::object();
  const auto it = object.find("first");
  if (it == object.end() || !it->is_object()) return first;
  for (const auto& [key, value] : it->items()) {
    if (first.size() == kFieldsMax) break;
    const std::string name = base::printable(key, 64);
    if (value.is_boolean() || value.is_number()) first[name] = value;
    if (value.is_string()) first[name] = base::printable(value.get_ref<const std::string&>(), 64);
  }
  return first;
}

bool is_array_of(const base::Json& answer, const char* key, bool (base::Json::*type)() const noexcept) {
  const auto it = answer.find(key);
  return it != answer.end() && it->is_array() && it->size() <= kDisksMax &&
         std::all_of(it->begin(), it->end(), [type](const base::Json& item) { return (item.*type)(); });
}

}  // namespace

tl::unexpected<base::Error> nonsense(const char* command, const base::Json& answer) {
  return base::fail(base::ErrorKind::subject, fmt::format("the guest answered nonsense to '{}': {}", command,
                                                          base::printable(base::dump_json(answer), 200)));
}

bool is_pci_address(const std::string& text) {
  return text.size() <= 16 && text.find_first_not_of("0123456789abcdef:.") == std::string::npos;
}

DiskReport disk_from_json(const base::Json& item) {
  DiskReport disk;
  disk.id = name_of(item, "id");
  disk.pci_address = name_of(item, "pci_address");
  disk.verified_bytes = count_of(item, "verified_bytes");
  disk.written_bytes = count_of(item, "written_bytes");
  disk.lost = count_of(item, "lost");
  disk.stale = count_of(item, "stale");
  disk.torn = count_of(item, "torn");
  disk.misplaced = count_of(item, "misplaced");
  disk.garbage = count_of(item, "garbage");
  disk.io_errors = count_of(item, "io_errors");
  disk.hangs = base::json_get(item, "hangs", false);
  disk.scsi = name_of(item, "scsi");
  disk.gone = base::json_get(item, "gone", false);
  disk.removal_expected = base::json_get(item, "removal_expected", false);
  disk.first = first_of(item);
  return disk;
}

base::Result<void> check_answer(const std::string& command, const base::Json& answer) {
  if (base::json_get(answer, "ok", false)) return {};
  return base::fail(base::ErrorKind::subject,
                    fmt::format("the guest refused '{}': {}", command,
                                base::printable(base::json_get(answer, "error", std::string("no reason given")))));
}

base::Result<Hello> hello_from_answer(const base::Json& answer) {
  MIGSOAK_TRY(check_answer("hello", answer));
  if (!is_array_of(answer, "disks", &base::Json::is_string)) return nonsense("hello", answer);
  Hello hello;
  hello.agent_version = name_of(answer, "agent_version");
  hello.kernel = name_of(answer, "kernel");
  hello.boot_ms = milliseconds_of(answer, "boot_ms");
  for (const base::Json& serial : answer["disks"]) {
    hello.disks.push_back(base::printable(serial.get_ref<const std::string&>(), 64));
  }
  return hello;
}

base::Result<VerifyReport> verify_from_answer(const base::Json& answer) {
  MIGSOAK_TRY(check_answer("verify", answer));
  const auto ram = answer.find("ram");
  if (ram == answer.end() || !ram->is_object() || !is_array_of(answer, "disks", &base::Json::is_object)) {
    return nonsense("verify", answer);
  }
  VerifyReport report;
  report.guest_ms = milliseconds_of(answer, "guest_ms");
  report.ram.verified_bytes = count_of(*ram, "verified_bytes");
  report.ram.pages_stale = count_of(*ram, "pages_stale");
  report.ram.pages_misplaced = count_of(*ram, "pages_misplaced");
  report.ram.pages_garbage = count_of(*ram, "pages_garbage");
  report.ram.first = first_of(*ram);
  for (const base::Json& item : answer["disks"]) {
    report.disks.push_back(disk_from_json(item));
  }
  if (!read_device_uses(answer, report.devices)) return nonsense("verify", answer);
  return report;
}

base::Result<std::map<std::string, std::string>> pci_config_from_answer(const base::Json& answer) {
  MIGSOAK_TRY(check_answer("pci_config", answer));
  const auto functions = answer.find("functions");
  if (functions == answer.end() || !functions->is_object() || functions->size() > kFunctionsMax) {
    return nonsense("pci_config", answer);
  }
  std::map<std::string, std::string> configs;
  for (const auto& [address, function] : functions->items()) {
    const std::uint64_t size_bytes = function.is_object() ? count_of(function, "size_bytes") : 0;
    std::string hex = base::json_get(function, "hex", std::string());
    const bool sane = is_pci_address(address) && size_bytes <= kConfigBytesMax && hex.size() <= 2 * size_bytes &&
                      hex.size() % 2 == 0 && hex.find_first_not_of("0123456789abcdef") == std::string::npos;
    if (!sane) return nonsense("pci_config", function);
    hex.resize(2 * size_bytes, '0');  // the agent leaves trailing zeros off
    configs[address] = std::move(hex);
  }
  return configs;
}

base::Result<std::string> arguments_text(const base::Json& arguments) {
  std::string text;
  if (!arguments.is_object() && !arguments.is_null()) {
    return base::fail(base::ErrorKind::bad_input, "an agent command takes an object of arguments");
  }
  for (const auto& [key, value] : arguments.items()) {
    const bool scalar = value.is_string() || value.is_number_integer() || value.is_boolean();
    const std::string word = value.is_string() ? value.get<std::string>() : base::dump_json(value);
    const auto plain = [](const std::string& piece) {
      return !piece.empty() && std::all_of(piece.begin(), piece.end(), [](char c) { return c > ' ' && c < 0x7f; });
    };
    if (!scalar || !plain(key) || !plain(word) || key.find('=') != std::string::npos) {
      return base::fail(base::ErrorKind::bad_input,
                        fmt::format("an agent command can't carry the argument '{}'", base::printable(key, 64)));
    }
    text += fmt::format(" {}={}", key, word);
  }
  if (text.size() > 1024) return base::fail(base::ErrorKind::bad_input, "an agent command's arguments are too long");
  return text;
}

}  // namespace migsoak::guest
