// VmstateDump: what a build says of its migration streams (`-dump-vmstate FILE`, QEMU migration/savevm.c), while it is
// being made: it takes a build the better part of a second.
#pragma once

#include <memory>
#include <string>

#include "base/deadline.h"
#include "base/json.h"
#include "base/result.h"
#include "fleet/fleet.h"
#include "proc/child_process.h"

namespace migsoak::fleet {

class VmstateDump {
 public:
  // `path`: of the file that it writes; finish() reads and removes it.
  static base::Result<VmstateDump> begin(const Host& host, const Build& build, const std::string& machine,
                                         const std::string& path);
  // kind subject: the build would not dump; kind timeout: it did not end.
  base::Result<base::Json> finish(base::Deadline deadline);

 private:
  VmstateDump() = default;
  std::unique_ptr<proc::ChildProcess> child_;
  std::string path_;
};

}  // namespace migsoak::fleet
