#include "commands.h"

#include <fcntl.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>

#include "await.h"
#include "clock.h"
#include "devices.h"
#include "inventory.h"
#include "json_text.h"

#ifndef MIGSOAK_AGENT_VERSION
#define MIGSOAK_AGENT_VERSION "unknown"
#endif

namespace migsoak::agent {

namespace {

constexpr std::uint64_t kRamBytesMax = 1ULL << 30;

}  // namespace

std::string Commands::hello() {
  utsname kernel{};
  uname(&kernel);
  JsonArray serials;
  for (const BlockDevice& device : list_block_devices()) serials.raw(json_string(device.serial));
  return JsonObject()
      .boolean("ok", true)
      .text("agent_version", MIGSOAK_AGENT_VERSION)
      .text("kernel", kernel.release)
      .milliseconds("boot_ms", monotonic_ns())
      .raw("disks", serials.str())
      .str();
}

std::string Commands::run(const std::string& name, const Arguments& arguments) {
  if (name == "ping") return JsonObject().boolean("ok", true).number("heartbeats", heartbeats_sent()).str();
  if (name == "hello") return hello();
  if (name == "workload") return workload(arguments);
  if (name == "verify") return verify(arguments);
  if (name == "settle_disks") return disks_.settle(arguments);
  if (name == "writes_in_flight") return disks_.in_flight(arguments);
  if (name == "adopt_disk") return disks_.adopt(arguments);
  if (name == "release_disk") return disks_.release(arguments);
  if (name == "expect_removal") return disks_.expect_removal(arguments);
  if (name == "disks") return disks();
  if (name == "inventory") return inventory_json(arguments);
  if (name == "await") return await_json(arguments);
  if (name == "pci_config") return pci_config_json(arguments);
  if (name == "heartbeat") return heartbeat(arguments);
  if (name == "corrupt_ram") return corrupt_ram(arguments);
  if (name == "flood") return flood(arguments);
  if (name == "panic") return panic();
  return refuse("unknown command");
}

bool runs_beside_others(const std::string& name) {
  return name == "await";
}

std::string Commands::workload(const Arguments& arguments) {
  const std::string kind = text_argument(arguments, "kind", "idle");
  if (kind != "idle" && kind != "dirty" && kind != "verify") return refuse("kind must be idle, dirty or verify");
  const std::uint64_t seed = number_argument(arguments, "seed", 1);
  const std::int64_t start_ns = monotonic_ns();
  const std::uint64_t ram_bytes = number_argument(arguments, "ram_bytes", 32u << 20);
  if (kind == "idle") {
    ram_.set_dirty_rate(0);
  } else {
    if (ram_bytes > kRamBytesMax) return refuse("ram_bytes is beyond 1 GiB");
    if (ram_.bytes() != ram_bytes / 4096 * 4096 || ram_seed_ != seed) {
      ram_.set_dirty_rate(0);
      if (!ram_.create(ram_bytes, seed)) return refuse("not enough memory for ram_bytes");
      ram_seed_ = seed;
    }
    ram_.set_dirty_rate(number_argument(arguments, "dirty_bytes_per_s", 8u << 20));
  }
  const bool use_disks = kind == "verify";
  if (use_disks) {
    DiskLoad load;
    load.seed = seed;
    load.bytes_per_s = number_argument(arguments, "disk_bytes_per_s", 4u << 20);
    load.queue_depth = static_cast<int>(number_argument(arguments, "disk_queue_depth", 1));
    disks_.start(load, start_ns + milliseconds_argument(arguments, "timeout_ms", 20'000));
  } else {
    disks_.stop_writers();
  }
  return JsonObject()
      .boolean("ok", true)
      .number("ram_bytes", ram_.bytes())
      .number("disks", use_disks ? disks_.size() : 0)
      .milliseconds("guest_ms", monotonic_ns() - start_ns)
      .str();
}

std::string Commands::verify(const Arguments& arguments) {
  const std::uint64_t ram_bytes_min = number_argument(arguments, "ram_bytes_min", 0);
  const std::uint64_t disk_bytes_min = number_argument(arguments, "disk_bytes_min", 0);
  const std::int64_t start_ns = monotonic_ns();
  const std::int64_t until_ns = start_ns + milliseconds_argument(arguments, "timeout_ms", 10'000);
  disks_.begin_verify(disk_bytes_min);  // the disks read while the memory is checked
  devices_.begin();
  const std::string ram = ram_.verify();
  const std::int64_t ram_done_ns = monotonic_ns();
  const std::string disks = disks_.finish_verify(until_ns);
  const std::string devices = devices_.finish(until_ns);
  JsonObject json;
  json.boolean("ok", true).boolean("enough", ram_.bytes() >= ram_bytes_min).raw("ram", ram).raw("disks", disks);
  if (!devices.empty()) json.raw("devices", devices);
  return json.milliseconds("ram_ms", ram_done_ns - start_ns).milliseconds("guest_ms", monotonic_ns() - start_ns).str();
}

std::string Commands::disks() {
  JsonArray list;
  for (const BlockDevice& device : list_block_devices()) {
    list.raw(JsonObject()
                 .text("name", device.name)
                 .text("serial", device.serial)
                 .text("pci_address", device.pci_address)
                 .text("scsi", device.scsi)
                 .number("size_bytes", device.size_bytes)
                 .boolean("read_only", device.read_only)
                 .str());
  }
  return JsonObject().boolean("ok", true).raw("disks", list.str()).str();
}

std::string Commands::heartbeat(const Arguments& arguments) {
  const std::uint64_t interval_ms = std::clamp<std::uint64_t>(number_argument(arguments, "interval_ms", 10), 1, 60'000);
  set_heartbeat_interval(wire_, static_cast<std::int64_t>(interval_ms) * 1'000'000);
  return JsonObject().boolean("ok", true).number("interval_ms", interval_ms).str();
}

std::string Commands::corrupt_ram(const Arguments& arguments) {
  const bool done = ram_.corrupt(number_argument(arguments, "page", 7), text_argument(arguments, "how", "flip"));
  return done ? JsonObject().boolean("ok", true).str() : refuse("no such page, or an unknown kind of corruption");
}

std::string Commands::flood(const Arguments& arguments) {
  std::uint64_t left_bytes = std::min<std::uint64_t>(number_argument(arguments, "kib", 64), 64u << 10) << 10;
  const std::uint64_t total_bytes = left_bytes;
  std::string line;
  for (char c = ' '; c < '~'; ++c) line += c;
  line += "\x1b[31m\x01\xff\n";  // what a hostile guest would add: escapes, control bytes, no UTF-8
  while (left_bytes > 0) {
    const ssize_t put = write(1, line.data(), std::min<std::uint64_t>(line.size(), left_bytes));
    if (put <= 0) break;
    left_bytes -= static_cast<std::uint64_t>(put);
  }
  return JsonObject().boolean("ok", true).number("bytes", total_bytes - left_bytes).str();
}

std::string Commands::panic() {
  const int fd = open("/proc/sysrq-trigger", O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, "c", 1) != 1) return refuse("sysrq is not available");
  return refuse("the kernel survived");
}

}  // namespace migsoak::agent
