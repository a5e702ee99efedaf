// Which accelerator a scenario's "auto" means. That /dev/kvm opens proves nothing: under a nested or paravirtual host
// the firmware runs and the kernel hangs. So a guest is booted, and the answer kept until the host's next boot.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

#include "base/log.h"
#include "base/text.h"
#include "base/unique_fd.h"
#include "hypervisor/direct.h"
#include "hypervisor/machine.h"

namespace migsoak::hypervisor {
using base::ErrorKind;

namespace {

constexpr std::chrono::seconds kProbeMax{15};
constexpr std::size_t kCacheBytesMax = 64u << 10;

std::string read_small_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text(kCacheBytesMax, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(std::max<std::streamsize>(file.gcount(), 0)));
  return text;
}

std::string boot_id() {
  std::string id = read_small_file("/proc/sys/kernel/random/boot_id");
  return id.substr(0, id.find('\n'));
}

// Empty when there is no home for it.
std::string cache_folder() {
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache != nullptr && cache[0] == '/') {
    return std::string(cache) + "/migsoak";
  }
  if (const char* home = std::getenv("HOME"); home != nullptr && home[0] == '/') {
    return std::string(home) + "/.cache/migsoak";
  }
  return "";
}

// {"boot": id, "answers": {"<path> <version>": "kvm"|"tcg"}}. Anything else counts as no memory.
base::Json read_cache() {
  const std::string folder = cache_folder();
  auto cache = folder.empty() ? base::Result<base::Json>(base::Json())
                              : base::parse_json(read_small_file(folder + "/accel.json"));
  if (cache && cache->is_object() && base::json_get<std::string>(*cache, "boot", "") == boot_id() &&
      cache->contains("answers") && (*cache)["answers"].is_object()) {
    return std::move(*cache);
  }
  return {{"boot", boot_id()}, {"answers", base::Json::object()}};
}

void make_folders(const std::string& folder) {
  for (std::size_t at = folder.find('/', 1); at != std::string::npos; at = folder.find('/', at + 1)) {
    ::mkdir(folder.substr(0, at).c_str(), 0700);
  }
  ::mkdir(folder.c_str(), 0700);
}

// Losing the memory costs a few seconds next time; so failures are logged and not returned.
void write_cache(const base::Json& cache) {
  const std::string folder = cache_folder();
  if (folder.empty()) return;
  make_folders(folder);
  const std::string path = folder + "/accel.json";
  std::string temporary = path + ".XXXXXX";
  const base::UniqueFd file(::mkostemp(temporary.data(), O_CLOEXEC));
  const std::string text = base::dump_json(cache) + "\n";
  const bool written =
      file.valid() && ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
  if (!written || ::rename(temporary.c_str(), path.c_str()) != 0) {
    spdlog::warn("can't remember the accelerator in {}: {}", path, std::strerror(errno));
    if (file.valid()) ::unlink(temporary.c_str());
  }
}

bool kvm_opens() {
  return base::UniqueFd(::open("/dev/kvm", O_RDWR | O_CLOEXEC)).valid();
}

// A poor man's client of the agent's channel: any byte from the guest's second serial port is a guest that came up.
class ByteWatch {
 public:
  explicit ByteWatch(std::string path) : path_(std::move(path)) {}
  bool heard() {
    if (!socket_.valid()) connect();
    char byte = 0;
    return socket_.valid() && ::recv(socket_.get(), &byte, 1, MSG_DONTWAIT) > 0;
  }

 private:
  void connect() {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path_.size() >= sizeof(address.sun_path)) return;
    std::memcpy(address.sun_path, path_.data(), path_.size());
    base::UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd.valid()) return;
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) socket_ = std::move(fd);
  }
  std::string path_;
  base::UniqueFd socket_;
};

// Did a guest come up? An Error only for what says nothing about KVM.
base::Result<bool> guest_comes_up(proc::Reactor& reactor, proc::Containment& containment, MachineSpec spec,
                                  base::Deadline deadline) {
  spec.accel = "kvm";
  spec.incoming = false;
  // The accelerator is the question, nothing of the scenario's side.
  spec.wrapper.clear();
  spec.env.clear();
  spec.extra_args.clear();
  spec.devices.clear();
  MIGSOAK_ASSIGN(auto machine, make_direct_driver(reactor, containment)->start(spec));
  ByteWatch agent(machine->agent_socket());
  bool heard = false;
  const auto waited = reactor.run_until([&] { return (heard = agent.heard()) || !machine->alive(); }, deadline,
                                        std::chrono::milliseconds(20));
  if (waited == proc::Wait::interrupted) return base::fail(ErrorKind::interrupted, "interrupted while trying KVM");
  return heard;
}

}  // namespace

base::Result<std::string> resolve_accel(proc::Reactor& reactor, proc::Containment& containment,
                                        const std::string& accel, const MachineSpec& probe, const std::string& version,
                                        base::Deadline deadline) {
  if (accel == "kvm" || accel == "tcg") return accel;
  if (accel != "auto") {
    return base::fail(ErrorKind::bad_input, fmt::format("accel '{}': one of auto, kvm, tcg", base::printable(accel)));
  }
  if (!kvm_opens()) {
    spdlog::info("accel auto: tcg (/dev/kvm does not open: {})", std::strerror(errno));
    return std::string("tcg");
  }
  if (probe.image.kernel.empty()) {
    spdlog::info("accel auto: tcg (no guest image to try KVM with)");
    return std::string("tcg");
  }
  const std::string key = probe.qemu + " " + version;
  base::Json cache = read_cache();
  const std::string remembered = base::json_get<std::string>(cache["answers"], key, "");
  if (remembered == "kvm" || remembered == "tcg") {
    spdlog::info("accel auto: {} (remembered since this boot of the host)", remembered);
    return remembered;
  }
  spdlog::info("accel auto: trying to boot a guest on KVM, up to {} s", kProbeMax.count());
  const auto limit = base::Deadline::in(kProbeMax);
  MIGSOAK_ASSIGN(const bool up, guest_comes_up(reactor, containment, probe, limit.sooner(deadline)), "try KVM");
  const std::string answer = up ? "kvm" : "tcg";
  spdlog::info("accel auto: {} ({})", answer, up ? "a guest came up on KVM" : "no guest came up on KVM");
  // A caller in a hurry may have cut the trial short: that "no" is not worth keeping.
  if (up || !(deadline.point() < limit.point())) {
    cache["answers"][key] = answer;
    write_cache(cache);
  }
  return answer;
}

}  // namespace migsoak::hypervisor
