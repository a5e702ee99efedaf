#include "await.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>

#include "clock.h"
#include "devices.h"
#include "kernel_events.h"
#include "sysfs.h"

namespace migsoak::agent {

namespace {

constexpr std::int64_t kPollNs = 10'000'000;  // for what happens without an event: a driver that has got ready

struct Look {
  bool holds = false;
  std::string seen;  // what is there instead
};
Look holds(std::string seen) {
  return {true, std::move(seen)};
}
Look not_yet(std::string seen) {
  return {false, std::move(seen)};
}

// Reads a disk's first block past the cache. A dead disk never answers, so that a thread of its own waits for it.
Look look_at_disk_content(const std::string& name, std::int64_t until_ns) {
  struct Read {
    std::mutex mutex;
    std::condition_variable changed;
    bool done = false;
    int error = 0;
  };
  const auto state = std::make_shared<Read>();
  std::thread([state, name] {
    constexpr std::size_t kBytes = 4096;
    void* buffer = aligned_alloc(kBytes, kBytes);
    const int fd = open(("/dev/" + name).c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC);
    const int error = fd >= 0 && read(fd, buffer, kBytes) > 0 ? 0 : errno;
    if (fd >= 0) close(fd);
    free(buffer);
    const std::lock_guard lock(state->mutex);
    state->done = true;
    state->error = error;
    state->changed.notify_all();
  }).detach();
  std::unique_lock lock(state->mutex);
  const std::chrono::steady_clock::time_point until{std::chrono::nanoseconds(until_ns)};
  if (!state->changed.wait_until(lock, until, [&] { return state->done; })) return not_yet(name + " does not answer");
  return state->error == 0 ? holds(name) : not_yet(name + ": " + strerror(state->error));
}

Look look_for_disk(const Arguments& arguments, bool read_it, std::int64_t until_ns) {
  const auto matches = [&](const char* key, const std::string& value) {
    const std::string wanted = text_argument(arguments, key);
    return wanted.empty() || wanted == value;
  };
  for (const BlockDevice& device : list_block_devices()) {
    if (!matches("pci_address", device.pci_address) || !matches("scsi", device.scsi) ||
        !matches("serial", device.serial)) {
      continue;
    }
    if (device.size_bytes == 0) return not_yet(device.name + " has no size");
    return read_it ? look_at_disk_content(device.name, until_ns) : holds(device.name);
  }
  return not_yet("");
}

Look look_for_net(const Arguments& arguments) {
  const std::string mac = text_argument(arguments, "mac");
  const std::string address = text_argument(arguments, "pci_address");
  for (const NetInterface& interface : list_net_interfaces()) {
    if ((!mac.empty() && mac != interface.mac) || (!address.empty() && address != interface.pci_address)) continue;
    return interface.up ? holds(interface.name) : not_yet(interface.name + " is down");
  }
  return not_yet("");
}

Look look_for_port(const Arguments& arguments) {
  const std::string name = text_argument(arguments, "name");
  const std::string address = text_argument(arguments, "pci_address");
  for (const SerialPort& port : list_serial_ports()) {
    if (name != port.name || (!address.empty() && address != port.pci_address)) continue;
    return exists("/dev/" + port.node) ? holds(port.node) : not_yet(port.node + " has no device node");
  }
  return not_yet("");
}

// Every virtio-rng that has a driver has to be offered by the kernel: which is which, sysfs does not tell.
Look look_for_rngs() {
  const std::vector<PciFunction> functions = list_pci_functions();
  const auto running = std::count_if(functions.begin(), functions.end(),
                                     [](const auto& it) { return it.running && it.child_driver == "virtio_rng"; });
  const std::size_t offered = list_rngs().size();
  const std::string seen = std::to_string(offered) + " of " + std::to_string(running) + " generators";
  return offered == static_cast<std::size_t>(running) ? holds(seen) : not_yet(seen);
}

Look look_for_pci(const Arguments& arguments, bool read_it, std::int64_t until_ns) {
  const PciFunction function = read_pci_function(text_argument(arguments, "pci_address"));
  if (function.id.empty()) return not_yet("");
  const bool use = number_argument(arguments, "driver", 1) != 0;
  const std::string driver = function.child_driver.empty() ? function.driver : function.child_driver;
  const std::string seen = function.id + " " + (driver.empty() ? "without a driver" : driver);
  if (!use) return holds(seen);
  if (!function.running) return not_yet(seen + (driver.empty() ? "" : ", not ready"));
  Look part = holds("");
  if (driver == "virtio_blk") part = look_for_disk(arguments, read_it, until_ns);
  if (driver == "virtio_net") part = look_for_net(arguments);
  if (driver == "virtio_rng") part = look_for_rngs();
  return {part.holds, part.seen.empty() ? seen : seen + ", " + part.seen};
}

Look look_for_count(std::uint64_t found, std::uint64_t wanted) {
  return {found == wanted, std::to_string(found)};
}

// What there is of it, whatever state is wanted. `read_it`: a disk has to answer, too.
Look look(const Arguments& arguments, bool read_it, std::int64_t until_ns) {
  const std::string what = text_argument(arguments, "what");
  if (what == "pci") return look_for_pci(arguments, read_it, until_ns);
  if (what == "disk" || what == "scsi") return look_for_disk(arguments, read_it, until_ns);
  if (what == "net") return look_for_net(arguments);
  if (what == "port") return look_for_port(arguments);
  if (what == "memory") {
    return look_for_count(read_memory().hotplugged_bytes, number_argument(arguments, "hotplugged_bytes", 0));
  }
  return look_for_count(online_cpus(), number_argument(arguments, "online", 1));
}

const char* why_refused(const Arguments& arguments) {
  const std::string what = text_argument(arguments, "what");
  const std::string state = text_argument(arguments, "state", "present");
  const auto given = [&](const char* key) { return !text_argument(arguments, key).empty(); };
  if (state != "present" && state != "absent") return "state is present or absent";
  if (what == "pci") return given("pci_address") ? nullptr : "what=pci needs pci_address";
  if (what == "disk")
    return given("pci_address") || given("serial") ? nullptr : "what=disk needs pci_address or serial";
  if (what == "scsi") return given("scsi") || given("serial") ? nullptr : "what=scsi needs scsi or serial";
  if (what == "net") return given("mac") || given("pci_address") ? nullptr : "what=net needs mac or pci_address";
  if (what == "port") return given("name") ? nullptr : "what=port needs name";
  if (what == "memory") return given("hotplugged_bytes") ? nullptr : "what=memory needs hotplugged_bytes";
  if (what == "cpu") return given("online") ? nullptr : "what=cpu needs online";
  return "what is pci, disk, scsi, net, port, memory or cpu";
}

}  // namespace

std::string await_json(const Arguments& arguments) {
  if (const char* why = why_refused(arguments); why != nullptr) return refuse(why);
  const std::string what = text_argument(arguments, "what");
  const bool counted = what == "memory" || what == "cpu";  // a number is what it is: neither present nor absent
  const bool absent = !counted && text_argument(arguments, "state", "present") == "absent";
  const std::int64_t start_ns = monotonic_ns();
  const std::int64_t until_ns = start_ns + milliseconds_argument(arguments, "timeout_ms", 5'000);
  for (;;) {
    const std::uint64_t events = kernel_events();
    Look now = look(arguments, !absent, until_ns);
    // Absent means that nothing of it is there any more.
    if (absent) now.holds = now.seen.empty();
    const std::int64_t now_ns = monotonic_ns();
    if (now.holds || now_ns >= until_ns) {
      return JsonObject()
          .boolean("ok", true)
          .boolean("holds", now.holds)
          .text("seen", now.seen.empty() ? "nothing" : now.seen)
          .milliseconds("waited_ms", now_ns - start_ns)
          .str();
    }
    wait_kernel_event(events, std::min(until_ns, now_ns + kPollNs));
  }
}

}  // namespace migsoak::agent
