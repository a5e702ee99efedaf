// Where the sockets of one QEMU process lie. Internal to hypervisor. Names are short: unix(7) allows 107 bytes.
#pragma once

#include <string>

#include "hypervisor/machine_spec.h"

namespace migsoak::hypervisor {

inline std::string qmp_socket_path(const MachineSpec& spec) {
  return spec.run_dir + "/" + spec.instance + ".q";
}
inline std::string agent_socket_path(const MachineSpec& spec) {
  return spec.run_dir + "/" + spec.instance + ".a";
}
inline std::string console_socket_path(const MachineSpec& spec) {
  return spec.run_dir + "/" + spec.instance + ".c";
}

}  // namespace migsoak::hypervisor
