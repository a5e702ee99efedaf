#include "kernel_events.h"

#include <errno.h>
#include <fnmatch.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "arguments.h"
#include "boot.h"
#include "devices.h"
#include "sysfs.h"

namespace migsoak::agent {

namespace {

std::mutex events_mutex;
std::condition_variable events_changed;
std::uint64_t events_seen = 0;

// Loads what the device with this alias asks for. A module that is loaded already costs one system call.
void load_modules_for(const std::string& alias) {
  static const std::string table = read_text("/lib/modules/on-demand");
  std::size_t start = 0;
  while (start < table.size()) {
    const std::size_t end = std::min(table.find('\n', start), table.size());
    const std::vector<std::string> words = words_of(table.substr(start, end - start));
    start = end + 1;
    if (words.size() < 2 || fnmatch(words[0].c_str(), alias.c_str(), 0) != 0) continue;
    for (std::size_t i = 1; i < words.size(); ++i) load_module(words[i]);
  }
}

void bring_interface_up(const std::string& name) {
  ifreq request{};
  if (name.size() >= sizeof request.ifr_name) return;
  memcpy(request.ifr_name, name.c_str(), name.size() + 1);
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  if (ioctl(fd, SIOCGIFFLAGS, &request) == 0) {
    request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
    if (ioctl(fd, SIOCSIFFLAGS, &request) != 0) say("interface %s: %s", name.c_str(), strerror(errno));
  }
  close(fd);
}

void bring_cpu_online(const std::string& path) {
  const std::string file = path + "/online";
  if (read_text(file) != "0") return;
  if (!write_text(file, "1")) say("%s: %s", file.c_str(), strerror(errno));
}

// "add@/devices/...\0ACTION=add\0DEVPATH=/devices/...\0SUBSYSTEM=pci\0..." (kernel, lib/kobject_uevent.c)
void handle_event(std::string_view message) {
  std::string action;
  std::string path;
  std::string subsystem;
  std::string alias;
  std::string interface;
  while (!message.empty()) {
    const std::string_view line = message.substr(0, message.find('\0'));
    message.remove_prefix(std::min(line.size() + 1, message.size()));
    const std::size_t equals = line.find('=');
    if (equals == std::string_view::npos) continue;
    const std::string_view key = line.substr(0, equals);
    const std::string value(line.substr(equals + 1));
    if (key == "ACTION") action = value;
    if (key == "DEVPATH") path = value;
    if (key == "SUBSYSTEM") subsystem = value;
    if (key == "MODALIAS") alias = value;
    if (key == "INTERFACE") interface = value;
  }
  if (action != "add") return;
  if (!alias.empty()) load_modules_for(alias);
  if (subsystem == "net" && !interface.empty()) bring_interface_up(interface);
  if (subsystem == "cpu") bring_cpu_online("/sys" + path);
}

void handle_what_is_there() {
  for (const char* bus : {"virtio", "scsi"}) {
    const std::string folder = std::string("/sys/bus/") + bus + "/devices/";
    for (const std::string& name : list_folder(folder)) {
      if (const std::string alias = read_text(folder + name + "/modalias"); !alias.empty()) load_modules_for(alias);
    }
  }
  for (const std::string& name : list_folder("/sys/devices/system/cpu")) {
    if (exists("/sys/devices/system/cpu/" + name + "/online")) bring_cpu_online("/sys/devices/system/cpu/" + name);
  }
  for (const NetInterface& interface : list_net_interfaces()) bring_interface_up(interface.name);
}

[[noreturn]] void listen_forever(int fd) {
  static char buffer[16 << 10];
  for (;;) {
    const ssize_t got = recv(fd, buffer, sizeof buffer, 0);
    // Too many at once (ENOBUFS): what was lost is caught up with by looking at what is there.
    if (got > 0) handle_event(std::string_view(buffer, static_cast<std::size_t>(got)));
    if (got < 0 && errno == ENOBUFS) handle_what_is_there();
    const std::lock_guard lock(events_mutex);
    ++events_seen;
    events_changed.notify_all();
  }
}

}  // namespace

void start_kernel_events() {
  read_memory();  // remembers what is there at boot
  write_text("/sys/devices/system/memory/auto_online_blocks", "online_movable");
  const int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = 1;  // the kernel's own
  if (fd < 0 || bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    fatal("kernel events: %s", strerror(errno));
  }
  constexpr int kBufferBytes = 1 << 20;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &kBufferBytes, sizeof kBufferBytes);
  std::thread(listen_forever, fd).detach();
  handle_what_is_there();
}

std::uint64_t kernel_events() {
  const std::lock_guard lock(events_mutex);
  return events_seen;
}

void wait_kernel_event(std::uint64_t seen, std::int64_t until_ns) {
  std::unique_lock lock(events_mutex);
  const std::chrono::steady_clock::time_point until{std::chrono::nanoseconds(until_ns)};
  events_changed.wait_until(lock, until, [seen] { return events_seen > seen; });
}

}  // namespace migsoak::agent
