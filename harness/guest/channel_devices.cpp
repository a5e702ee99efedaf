// GuestChannel's calls about devices, each on top of a raw command.
#include <algorithm>
#include <cassert>
#include <chrono>
#include <utility>

#include "base/text.h"
#include "guest/answers.h"
#include "guest/channel.h"

namespace migsoak::guest {

namespace {

const char* await_name(AwaitSpec::What what) {
  switch (what) {
    case AwaitSpec::What::pci: return "pci";
    case AwaitSpec::What::disk: return "disk";
    case AwaitSpec::What::scsi: return "scsi";
    case AwaitSpec::What::net: return "net";
    case AwaitSpec::What::port: return "port";
    case AwaitSpec::What::memory: return "memory";
    case AwaitSpec::What::cpu: return "cpu";
  }
  assert(false);
  return "pci";
}

const char* content_name(DiskContent content) {
  switch (content) {
    case DiskContent::automatic: return "auto";
    case DiskContent::fresh: return "fresh";
    case DiskContent::kept: return "kept";
  }
  assert(false);
  return "auto";
}

// An empty value is one that was not given: the protocol can't carry it.
void add_given(base::Json& arguments, const char* key, const std::string& value) {
  if (!value.empty()) arguments[key] = value;
}

base::Result<base::Json> identity_arguments(const DiskIdentity& disk) {
  base::Json arguments = base::Json::object();
  add_given(arguments, "id", disk.id);
  add_given(arguments, "pci_address", disk.pci_address);
  add_given(arguments, "scsi", disk.scsi);
  add_given(arguments, "serial", disk.serial);
  if (arguments.empty()) return base::fail(base::ErrorKind::bad_input, "a disk without anything to know it by");
  return arguments;
}

// The time the agent may take: a little less than what the host waits, so that its answer tells what it saw.
std::uint64_t guest_timeout_ms(base::Deadline deadline) {
  constexpr std::chrono::milliseconds kMargin{500};
  const std::chrono::milliseconds left = deadline.left() - kMargin;
  return static_cast<std::uint64_t>(std::max(left, std::chrono::milliseconds(1)).count());
}

base::Json pci_config_arguments(const std::vector<std::string>& addresses, std::uint64_t bytes_max) {
  base::Json arguments = {{"bytes_max", bytes_max}};
  add_given(arguments, "addresses", base::join(addresses, ","));
  return arguments;
}

}  // namespace

base::Result<std::map<std::string, std::string>> GuestChannel::pci_config(base::Deadline deadline,
                                                                          const std::vector<std::string>& addresses,
                                                                          std::uint64_t bytes_max) {
  MIGSOAK_ASSIGN(const base::Json answer, command("pci_config", pci_config_arguments(addresses, bytes_max), deadline));
  return pci_config_from_answer(answer);
}

base::Result<std::map<std::string, std::string>> GuestChannel::pci_config_digest(
    base::Deadline deadline, const std::vector<std::string>& addresses, std::uint64_t bytes_max) {
  base::Json arguments = pci_config_arguments(addresses, bytes_max);
  arguments["digest"] = 1;
  MIGSOAK_ASSIGN(const base::Json answer, command("pci_config", arguments, deadline));
  return pci_digests_from_answer(answer);
}

base::Result<Inventory> GuestChannel::inventory(base::Deadline deadline, const std::string& parts,
                                                const std::string& since_digest) {
  base::Json arguments = base::Json::object();
  add_given(arguments, "what", parts);
  add_given(arguments, "since", since_digest);
  MIGSOAK_ASSIGN(const base::Json answer, command("inventory", arguments, deadline));
  return inventory_from_answer(answer);
}

base::Result<PendingCommand> GuestChannel::begin_await(const AwaitSpec& spec) {
  base::Json arguments = {
      {"what", await_name(spec.what)}, {"state", spec.present ? "present" : "absent"}, {"timeout_ms", spec.timeout_ms}};
  add_given(arguments, "pci_address", spec.pci_address);
  add_given(arguments, "serial", spec.serial);
  add_given(arguments, "scsi", spec.scsi);
  add_given(arguments, "mac", spec.mac);
  add_given(arguments, "name", spec.port);
  if (spec.what == AwaitSpec::What::memory) arguments["hotplugged_bytes"] = spec.count;
  if (spec.what == AwaitSpec::What::cpu) arguments["online"] = spec.count;
  if (!spec.needs_driver) arguments["driver"] = 0;
  return begin_command("await", arguments);
}

base::Result<AwaitReport> GuestChannel::finish_await(const PendingCommand& pending, base::Deadline deadline) {
  MIGSOAK_ASSIGN(const base::Json answer, finish_command(pending, deadline));
  return await_from_answer(answer);
}

base::Result<AwaitReport> GuestChannel::await_device(const AwaitSpec& spec, base::Deadline deadline) {
  MIGSOAK_ASSIGN(const PendingCommand pending, begin_await(spec));
  return finish_await(pending, deadline);
}

base::Result<AdoptReport> GuestChannel::adopt_disk(const DiskIdentity& disk, base::Deadline deadline,
                                                   DiskContent content, std::uint64_t area_bytes) {
  MIGSOAK_ASSIGN(base::Json arguments, identity_arguments(disk));
  arguments["content"] = content_name(content);
  arguments["area_bytes"] = area_bytes;
  arguments["timeout_ms"] = guest_timeout_ms(deadline);
  MIGSOAK_ASSIGN(const base::Json answer, command("adopt_disk", arguments, deadline));
  return adopt_from_answer(answer);
}

base::Result<ReleaseReport> GuestChannel::release_disk(const DiskIdentity& disk, base::Deadline deadline,
                                                       std::uint64_t disk_bytes_min) {
  MIGSOAK_ASSIGN(base::Json arguments, identity_arguments(disk));
  arguments["disk_bytes_min"] = disk_bytes_min;
  arguments["timeout_ms"] = guest_timeout_ms(deadline);
  MIGSOAK_ASSIGN(const base::Json answer, command("release_disk", arguments, deadline));
  return release_from_answer(answer);
}

base::Result<void> GuestChannel::expect_removal(const DiskIdentity& disk, base::Deadline deadline, bool expected) {
  MIGSOAK_ASSIGN(base::Json arguments, identity_arguments(disk));
  arguments["expected"] = expected ? 1 : 0;
  MIGSOAK_ASSIGN(const base::Json answer, command("expect_removal", arguments, deadline));
  return check_answer("expect_removal", answer);
}

}  // namespace migsoak::guest
