// Internal to hypervisor: the monitor's commands for reading configuration space, and what it answers.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "record/config_space.h"

namespace migsoak::hypervisor {

struct PciLocation {
  int bus = 0, slot = 0, function = 0;
};

// PCI Local Bus 3.0, 3.2.2.3.2: what CONFIG_ADDRESS (0xcf8) holds to reach a register through CONFIG_DATA (0xcfc).
std::uint32_t config_address(PciLocation at, std::size_t offset);
// PCI Express Base 5.0, 7.2.2: where ECAM at `base` shows the function's first register.
std::uint64_t ecam_address(std::uint64_t base, PciLocation at);

// Intel 3 Series Express Chipset (P35/G33) datasheet 5.1.17, the two halves of PCIEXBAR: length in bits 2:1.
std::uint64_t ecam_base(std::uint32_t low, std::uint32_t high);

// Command lines of the human monitor (QEMU hmp-commands.hx: o, i, xp).
std::string write_port(std::uint16_t port, std::uint32_t value);
std::string read_port(std::uint16_t port);
std::string read_physical(std::uint64_t address, std::size_t words);
// One number of 1, 2 or 4 bytes.
std::string read_physical_number(std::uint64_t address, int bytes);

// "portl[0x0cfc] = 0xb0000001"; of QEMU 5.2 also "portl[0x0cf8] = 0000000000"
std::optional<std::uint32_t> parse_port(const base::Json& answer);
// "00000000b0020000: 0x10011af4 0x00100107 ...", any number of lines; empty when anything else is in there ("Cannot
// access memory").
std::vector<std::uint8_t> parse_physical(const base::Json& answer);

// "00000000fe000000: 0x5c"
std::optional<std::uint32_t> parse_physical_number(const base::Json& answer);

// One function as query-pci tells it.
struct ListedFunction {
  PciLocation at;
  record::ConfigFunction function;
  bool bridge = false;
  int secondary_bus = 0;  // of a bridge; 0 while nobody has given it a number
  int depth = 0;          // 0: on a root bus
};
// In the order of the answer, children behind their bridge. Kind subject: not what query-pci may answer.
base::Result<std::vector<ListedFunction>> parse_query_pci(const base::Json& answer);

}  // namespace migsoak::hypervisor
