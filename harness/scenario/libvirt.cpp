// [migration.libvirt] of a scenario: in which ways libvirt migrates the guest.
#include <fmt/format.h>

#include <algorithm>

#include "hypervisor/libvirt_ways.h"
#include "scenario/table_reader.h"

namespace migsoak::scenario {

using base::Result;
using hypervisor::libvirt_flag_names;

namespace {

constexpr const char* kNative = "native";  // over migration.transport

Result<void> read_words(const TableReader& in, const char* key, const std::vector<std::string>& known,
                        std::vector<std::string>& out) {
  in.read_list(key, out);
  if (out.empty()) return in.error(key, fmt::format("needs at least one of {}", base::join(known, ", ")));
  for (const std::string& word : out) MIGSOAK_TRY(in.check_choice(key, word, known));
  return {};
}

// A list: always. A table: each by its own chance.
Result<void> read_flags(const TableReader& in, LibvirtScenario& libvirt) {
  const std::vector<std::string> known = libvirt_flag_names();
  std::vector<std::pair<std::string, std::uint64_t>> given;
  std::vector<std::string> names;
  in.read_list("flags", names);
  for (const std::string& name : names) {
    MIGSOAK_TRY(in.check_choice("flags", name, known));
    given.emplace_back(name, 100);
  }
  if (const toml::table* chances = in.table()["flags"].as_table()) {
    for (const auto& [key, node] : *chances) {
      const std::string name(key.str());
      MIGSOAK_TRY(in.check_choice("flags", name, known));
      const std::int64_t chance = node.value<std::int64_t>().value_or(0);
      if (chance < 0 || chance > 100) return in.error("flags", fmt::format("{}: a chance is 0 to 100 percent", name));
      given.emplace_back(name, chance);
    }
  }
  for (const std::string& name : known) {
    const auto found = std::find_if(given.begin(), given.end(), [&](const auto& one) { return one.first == name; });
    if (found != given.end() && found->second > 0) libvirt.flags.push_back(*found);
  }
  return {};
}

// A word that goes with nothing of the other keys would never be drawn.
Result<void> check_word(const TableReader& in, const char* key, const std::vector<std::string>& managed,
                        const std::vector<std::string>& transports, const std::vector<std::string>& flags) {
  std::string why;
  for (const std::string& one : managed) {
    for (const std::string& transport : transports) {
      const std::string conflict = hypervisor::libvirt_conflict(transport, {one, flags});
      if (conflict.empty()) return {};
      if (why.empty()) why = conflict;
    }
  }
  return in.error(key, why);
}

Result<void> check_together(const TableReader& in, const LibvirtScenario& libvirt) {
  std::vector<std::string> certain;
  for (const auto& [name, chance] : libvirt.flags) {
    if (chance == 100) certain.push_back(name);
  }
  const auto given = [&](const std::string& flag) {
    return std::any_of(libvirt.flags.begin(), libvirt.flags.end(), [&](const auto& one) { return one.first == flag; });
  };
  for (const std::string& managed : libvirt.managed) {
    MIGSOAK_TRY(check_word(in, "managed", {managed}, libvirt.transports, {}));
  }
  for (const auto& [name, chance] : libvirt.flags) {
    std::vector<std::string> flags = certain;
    if (chance < 100) flags.push_back(name);
    const std::string& needs = hypervisor::find_libvirt_flag(name)->needs;
    if (!needs.empty() && given(needs)) flags.push_back(needs);
    MIGSOAK_TRY(check_word(in, "flags", libvirt.managed, libvirt.transports, flags));
  }
  for (const std::string& transport : libvirt.transports) {
    MIGSOAK_TRY(check_word(in, "transport", libvirt.managed, {transport}, certain));
  }
  for (const std::string& managed : libvirt.managed) {
    MIGSOAK_TRY(check_word(in, "managed", {managed}, libvirt.transports, certain));
  }
  if (libvirt.parallel_connections > 0 && !given("parallel")) {
    return in.error("parallel_connections", "goes with the flag \"parallel\" only");
  }
  return {};
}

}  // namespace

Result<void> read_libvirt(const TableReader& in, Scenario& scenario) {
  LibvirtScenario& libvirt = scenario.libvirt;
  const bool other_driver = std::any_of(scenario.sides.begin(), scenario.sides.end(),
                                        [](const auto& side) { return side.driver != "libvirt"; });
  if (other_driver) {
    if (in.table().empty()) return {};
    return in.error(std::string(in.table().begin()->first.str()).c_str(),
                    "needs driver \"libvirt\" on each side, which then migrates the guest by itself");
  }
  MIGSOAK_TRY(read_words(in, "managed", {hypervisor::kPeerToPeer, hypervisor::kClientManaged}, libvirt.managed));
  libvirt.transports = {kNative};
  MIGSOAK_TRY(read_words(in, "transport", {kNative, "unix", "tcp", hypervisor::kTunnelled, hypervisor::kSaved},
                         libvirt.transports));
  std::replace(libvirt.transports.begin(), libvirt.transports.end(), std::string(kNative), scenario.transport);
  MIGSOAK_TRY(read_flags(in, libvirt));
  MIGSOAK_TRY(in.read_integer("bandwidth_mib", libvirt.bandwidth_mib, 0, 1'000'000));
  MIGSOAK_TRY(in.read_integer("parallel_connections", libvirt.parallel_connections, 0, 255));
  return check_together(in, libvirt);
}

}  // namespace migsoak::scenario
