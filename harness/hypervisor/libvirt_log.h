// What a QEMU says, out of the file into which its libvirtd has it written. Internal to hypervisor.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/line_ring.h"

namespace migsoak::hypervisor {

// Pure: QEMU's own lines among those that libvirtd writes there itself (a domain's command line, its start and end).
class LibvirtLogFilter {
 public:
  bool is_qemus(const std::string& line);

 private:
  bool in_command_ = false;
};

class LibvirtLog {
 public:
  // Begins with the last start in `path`: earlier ones are of machines before.
  explicit LibvirtLog(std::string path);
  std::vector<std::string> take_lines();
  std::uint64_t take_dropped_bytes();
  std::vector<std::string> last_lines();

 private:
  void read();

  std::string path_;
  std::uint64_t offset_ = 0;
  std::string partial_;
  LibvirtLogFilter filter_;
  base::LineRing lines_;
};

}  // namespace migsoak::hypervisor
