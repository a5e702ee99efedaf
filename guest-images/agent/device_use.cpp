#include "device_use.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "devices.h"
#include "json_text.h"
#include "sysfs.h"

namespace migsoak::agent {

namespace {

constexpr std::uint16_t kExperimentalProtocol = 0x88b5;  // IEEE 802: local experimental EtherType 1

std::string outcome(bool good) {
  return good ? "ok" : strerror(errno);
}

// One broadcast frame of the smallest size; nobody has to answer.
std::string send_frame(const std::string& interface) {
  const int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return outcome(false);
  sockaddr_ll to{};
  to.sll_family = AF_PACKET;
  to.sll_protocol = htons(kExperimentalProtocol);
  to.sll_ifindex = static_cast<int>(if_nametoindex(interface.c_str()));
  to.sll_halen = 6;
  memset(to.sll_addr, 0xff, to.sll_halen);
  constexpr char kPayload[46] = "migsoak";
  const bool sent = sendto(fd, kPayload, sizeof kPayload, MSG_DONTWAIT, reinterpret_cast<const sockaddr*>(&to),
                           sizeof to) == static_cast<ssize_t>(sizeof kPayload);
  std::string result = outcome(sent);
  close(fd);
  return result;
}

std::string read_random(const std::string& generator) {
  if (!write_text("/sys/class/misc/hw_random/rng_current", generator)) return outcome(false);
  const int fd = open("/dev/hwrng", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return outcome(false);
  char bytes[16];
  std::string result = outcome(read(fd, bytes, sizeof bytes) > 0);
  close(fd);
  return result;
}

std::string write_port(const std::string& node) {
  const int fd = open(("/dev/" + node).c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return outcome(false);
  const ssize_t put = write(fd, "migsoak\n", 8);
  // Nobody listens on the host: the port itself is fine.
  std::string result = outcome(put > 0 || errno == EAGAIN);
  close(fd);
  return result;
}

}  // namespace

void DeviceUse::begin() {
  const std::lock_guard lock(mutex_);
  if (busy_) return;  // still at the last one: finish() says so
  if (!started_) std::thread(&DeviceUse::use_forever, this).detach();
  started_ = true;
  busy_ = true;
  uses_.clear();
  changed_.notify_all();
}

std::string DeviceUse::finish(std::int64_t until_ns) {
  std::unique_lock lock(mutex_);
  const std::chrono::steady_clock::time_point until{std::chrono::nanoseconds(until_ns)};
  changed_.wait_until(lock, until, [this] { return !busy_; });
  JsonArray rows;
  for (const Use& it : uses_) {
    JsonArray row;
    for (const std::string& field : {it.kind, it.name, it.result.empty() ? "does not answer" : it.result}) {
      row.raw(json_string(field));
    }
    rows.raw(row.str());
  }
  return uses_.empty() ? "" : rows.str();
}

void DeviceUse::use(const std::string& kind, const std::string& name, std::string (*with)(const std::string&),
                    const std::string& argument) {
  {
    const std::lock_guard lock(mutex_);
    uses_.push_back({kind, name, ""});
  }
  std::string result = with(argument);
  const std::lock_guard lock(mutex_);
  uses_.back().result = std::move(result);
}

void DeviceUse::use_all() {
  for (const NetInterface& it : list_net_interfaces()) {
    if (it.up) use("net", it.name, send_frame, it.name);
  }
  for (const std::string& generator : list_rngs()) use("rng", generator, read_random, generator);
  for (const SerialPort& it : list_serial_ports()) {
    use("port", it.name.empty() ? it.node : it.name, write_port, it.node);
  }
}

void DeviceUse::use_forever() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return busy_; });
    lock.unlock();
    use_all();
    lock.lock();
    busy_ = false;
    changed_.notify_all();
  }
}

}  // namespace migsoak::agent
