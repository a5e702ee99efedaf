// The agent's commands (PROTOCOL.md): one table, one function each.
#pragma once

#include <string>

#include "arguments.h"
#include "device_use.h"
#include "disk_set.h"
#include "ram.h"
#include "wire.h"

namespace migsoak::agent {

class Commands {
 public:
  explicit Commands(Wire& wire) : wire_(wire) {}
  // Runs one command and returns its answer (JSON object).
  std::string run(const std::string& name, const Arguments& arguments);
  std::string hello();

 private:
  std::string workload(const Arguments& arguments);
  std::string verify(const Arguments& arguments);
  std::string disks();
  std::string heartbeat(const Arguments& arguments);
  std::string corrupt_ram(const Arguments& arguments);
  std::string flood(const Arguments& arguments);
  std::string panic();

  Wire& wire_;
  RamRegion ram_;
  std::uint64_t ram_seed_ = 0;
  DiskSet disks_;
  DeviceUse devices_;
};

// A command that only looks and may take long: it runs in a thread of its own, beside the others.
bool runs_beside_others(const std::string& name);

}  // namespace migsoak::agent
