// Where the sockets of one QEMU process lie. Internal to hypervisor. Names are short: unix(7) allows 107 bytes.
#pragma once

#include <string>
#include <vector>

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
inline std::string qtest_socket_path(const MachineSpec& spec) {
  return spec.run_dir + "/" + spec.instance + ".t";
}
// All that its QEMU makes.
inline std::vector<std::string> socket_paths(const MachineSpec& spec) {
  if (spec.guestless) return {qmp_socket_path(spec), qtest_socket_path(spec)};
  return {qmp_socket_path(spec), agent_socket_path(spec), console_socket_path(spec)};
}

}  // namespace migsoak::hypervisor
