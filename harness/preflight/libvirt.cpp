#include "preflight/libvirt.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/version.h"
#include "hypervisor/libvirt_ways.h"

namespace migsoak::preflight {

using base::ErrorKind;
using base::fail;
using base::Result;
using scenario::Scenario;

namespace {

constexpr const char* kUnixSince = "6.8";  // migration over a unix socket

// A target would have to fetch pages as well, which those that there are don't (VHOST_USER_PROTOCOL_F_PAGEFAULT).
Result<void> check_postcopy(const Scenario& scenario) {
  const std::string key = scenario.file + ": migration.libvirt.flags: postcopy";
  MIGSOAK_TRY(hypervisor::check_userfaultfd(), key);
  for (const scenario::DeviceScenario& device : scenario.devices) {
    if (device.target.empty()) continue;
    return fail(ErrorKind::bad_input, fmt::format("{} does not go with a vhost-user device ({}), whose target would "
                                                  "have to fetch pages too: take a disk in a file (virtio-blk)",
                                                  key, device.id));
  }
  return {};
}

}  // namespace

Result<void> check_libvirt_ways(proc::Reactor& reactor, proc::Containment& containment, const Scenario& scenario,
                                const Preflight& preflight) {
  const scenario::LibvirtScenario& asked = scenario.libvirt;
  const std::string& daemon = preflight.packages.at("libvirt");  // "libvirtd 9.0.0"
  const std::string version = daemon.substr(daemon.rfind(' ') + 1);
  const auto lacks = [&](const char* key, const std::string& what, const std::string& since, const std::string& who) {
    return fail(ErrorKind::bad_input, fmt::format("{}: migration.libvirt.{}: {} needs {} or newer, and {}",
                                                  scenario.file, key, what, since, who));
  };
  const bool over_unix = std::find(asked.transports.begin(), asked.transports.end(), "unix") != asked.transports.end();
  if (over_unix && base::older_version(version, kUnixSince)) {
    return lacks("transport", "unix", std::string("libvirt ") + kUnixSince, "here is " + version);
  }
  for (const auto& [name, chance] : asked.flags) {
    const hypervisor::LibvirtFlag& flag = *hypervisor::find_libvirt_flag(name);
    if (!flag.libvirt_since.empty() && base::older_version(version, flag.libvirt_since)) {
      return lacks("flags", name, "libvirt " + flag.libvirt_since, "here is " + version);
    }
    for (const scenario::SideScenario& side : scenario.sides) {
      const std::string& qemu = preflight.qemu.at(side.qemu).version;
      if (flag.qemu_since.empty() || !base::older_version(qemu, flag.qemu_since)) continue;
      return lacks("flags", name, "QEMU " + flag.qemu_since, fmt::format("side {} has {}", side.name, qemu));
    }
    if (name == "postcopy") MIGSOAK_TRY(check_postcopy(scenario));
    if (name != "zerocopy") continue;
    MIGSOAK_TRY(hypervisor::check_locked_memory(reactor, containment, scenario.guest.memory_bytes,
                                                base::Deadline::in(std::chrono::seconds(10))),
                scenario.file + ": migration.libvirt.flags: zerocopy");
  }
  return {};
}

}  // namespace migsoak::preflight
