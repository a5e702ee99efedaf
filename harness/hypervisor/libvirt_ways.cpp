#include "hypervisor/libvirt_ways.h"

#include <fmt/format.h>
#include <libvirt/libvirt.h>

#include <algorithm>

namespace migsoak::hypervisor {

const std::vector<LibvirtFlag>& libvirt_flags() {
  static const std::vector<LibvirtFlag> all = {
#define LIBVIRT_FLAG(name, value, libvirt, qemu, needs) {name, value, libvirt, qemu, needs},
#include "hypervisor/libvirt_flags.def"
#undef LIBVIRT_FLAG
  };
  return all;
}

const LibvirtFlag* find_libvirt_flag(const std::string& name) {
  for (const LibvirtFlag& flag : libvirt_flags()) {
    if (flag.name == name) return &flag;
  }
  return nullptr;
}

std::vector<std::string> libvirt_flag_names() {
  std::vector<std::string> names;
  for (const LibvirtFlag& flag : libvirt_flags()) names.push_back(flag.name);
  return names;
}

std::string libvirt_conflict(const std::string& transport, const record::LibvirtWay& way) {
  const auto has = [&](const std::string& flag) {
    return std::find(way.flags.begin(), way.flags.end(), flag) != way.flags.end();
  };
  const bool tunnelled = transport == kTunnelled;
  if (tunnelled && way.managed != kPeerToPeer) {
    return fmt::format("\"tunnelled\" goes from daemon to daemon, so it needs managed = \"{}\"", kPeerToPeer);
  }
  for (const std::string& name : way.flags) {
    const LibvirtFlag* flag = find_libvirt_flag(name);
    if (flag != nullptr && !flag->needs.empty() && !has(flag->needs)) {
      return fmt::format("\"{}\" needs the flag \"{}\"", name, flag->needs);
    }
  }
  if (has("parallel") && tunnelled) return "\"parallel\" does not go with \"tunnelled\", which is one stream";
  // libvirt's own choice of a method (xbzrle) does nothing for parallel streams, and newer ones refuse it.
  if (has("parallel") && has("compressed")) return "\"parallel\" does not go with \"compressed\"";
  // The kernel has it for TCP alone (MSG_ZEROCOPY).
  if (has("zerocopy") && transport != "tcp") return "\"zerocopy\" needs transport \"tcp\"";
  return "";
}

}  // namespace migsoak::hypervisor
