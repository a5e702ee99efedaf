// answers.h: what the agent says of devices.
#include <array>
#include <cstdlib>

#include "base/text.h"
#include "guest/answers.h"

namespace migsoak::guest {

namespace {

constexpr std::size_t kRowsMax = 1024;
constexpr std::size_t kDigestsMax = 4096;

// One row of an inventory: as many strings as are wanted, at least.
template <std::size_t Size>
bool read_row(const base::Json& row, std::array<std::string, Size>& fields) {
  if (!row.is_array() || row.size() < Size) return false;
  for (std::size_t i = 0; i < Size; ++i) {
    if (!row[i].is_string()) return false;
    fields[i] = base::printable(row[i].get_ref<const std::string&>(), 64);
  }
  return true;
}

// False when the rows of that part are not what they should be; a part that was not asked for is not there.
template <std::size_t Size, typename Take>
bool read_rows(const base::Json& answer, const char* part, const Take& take) {
  const auto rows = answer.find(part);
  if (rows == answer.end()) return true;
  if (!rows->is_array() || rows->size() > kRowsMax) return false;
  std::array<std::string, Size> fields;
  for (const base::Json& row : *rows) {
    if (!read_row(row, fields)) return false;
    take(fields);
  }
  return true;
}

const base::Json& object_in(const base::Json& answer, const char* key) {
  static const base::Json none = base::Json::object();
  const auto it = answer.find(key);
  return it != answer.end() && it->is_object() ? *it : none;
}

}  // namespace

bool read_device_uses(const base::Json& answer, std::vector<DeviceUse>& uses) {
  return read_rows<3>(answer, "devices", [&](const auto& row) { uses.push_back({row[0], row[1], row[2]}); });
}

base::Result<Inventory> inventory_from_answer(const base::Json& answer) {
  MIGSOAK_TRY(check_answer("inventory", answer));
  Inventory inventory;
  inventory.same = base::json_get(answer, "same", false);
  inventory.digest = name_of(answer, "digest");
  const bool sane =
      read_rows<6>(answer, "pci",
                   [&](const auto& row) {
                     inventory.pci.push_back({row[0], row[1], row[2], row[3], row[4], row[5] == "running"});
                   }) &&
      read_rows<5>(
          answer, "block",
          [&](const auto& row) {
            inventory.disks.push_back({row[0], row[1], row[2], row[3], std::strtoull(row[4].c_str(), nullptr, 10)});
          }) &&
      read_rows<5>(answer, "net",
                   [&](const auto& row) {
                     inventory.interfaces.push_back({row[0], row[1], row[2], row[3], row[4] == "up"});
                   }) &&
      read_rows<3>(answer, "port", [&](const auto& row) {
        inventory.ports.push_back({row[0], row[1], row[2]});
      });
  if (!sane || inventory.digest.empty()) return nonsense("inventory", answer);
  inventory.rngs = count_of(answer, "rng");
  inventory.memory_online_bytes = count_of(answer, "memory_online_bytes");
  inventory.memory_hotplugged_bytes = count_of(answer, "memory_hotplugged_bytes");
  inventory.memory_offline_blocks = count_of(answer, "memory_offline_blocks");
  inventory.cpus_online = count_of(answer, "cpus_online");
  inventory.guest_ms = milliseconds_of(answer, "guest_ms");
  return inventory;
}

base::Result<AwaitReport> await_from_answer(const base::Json& answer) {
  MIGSOAK_TRY(check_answer("await", answer));
  if (!answer.contains("holds") || !answer["holds"].is_boolean()) return nonsense("await", answer);
  AwaitReport report;
  report.holds = answer["holds"].get<bool>();
  report.seen = base::printable(base::json_get(answer, "seen", std::string()), 200);
  report.waited_ms = milliseconds_of(answer, "waited_ms");
  return report;
}

base::Result<AdoptReport> adopt_from_answer(const base::Json& answer) {
  MIGSOAK_TRY(check_answer("adopt_disk", answer));
  AdoptReport report;
  report.name = name_of(answer, "name");
  report.serial = name_of(answer, "serial");
  report.size_bytes = count_of(answer, "size_bytes");
  report.area_bytes = count_of(answer, "area_bytes");
  report.content_kept = name_of(answer, "content") == "kept";
  report.guest_ms = milliseconds_of(answer, "guest_ms");
  if (report.name.empty() || object_in(answer, "report").empty()) return nonsense("adopt_disk", answer);
  report.disk = disk_from_json(object_in(answer, "report"));
  return report;
}

base::Result<ReleaseReport> release_from_answer(const base::Json& answer) {
  MIGSOAK_TRY(check_answer("release_disk", answer));
  if (object_in(answer, "report").empty()) return nonsense("release_disk", answer);
  ReleaseReport report;
  report.released = base::json_get(answer, "released", false);
  report.disk = disk_from_json(object_in(answer, "report"));
  report.guest_ms = milliseconds_of(answer, "guest_ms");
  return report;
}

base::Result<std::map<std::string, std::string>> pci_digests_from_answer(const base::Json& answer) {
  MIGSOAK_TRY(check_answer("pci_config", answer));
  const auto listed = answer.find("digests");
  if (listed == answer.end() || !listed->is_object() || listed->size() > kDigestsMax) {
    return nonsense("pci_config", answer);
  }
  std::map<std::string, std::string> digests;
  for (const auto& [address, value] : listed->items()) {
    const std::string digest = value.is_string() ? value.get<std::string>() : "";
    if (!is_pci_address(address) || digest.size() != 8 ||
        digest.find_first_not_of("0123456789abcdef") != std::string::npos) {
      return nonsense("pci_config", answer);
    }
    digests[address] = digest;
  }
  return digests;
}

}  // namespace migsoak::guest
