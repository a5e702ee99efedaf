// The agent's commands (PROTOCOL.md): one table, one function each.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "disk_workload.h"
#include "ram.h"
#include "wire.h"

namespace migsoak::agent {

using Arguments = std::map<std::string, std::string>;

class Commands {
 public:
  explicit Commands(Wire& wire) : wire_(wire) {}
  // Runs one command and returns its answer (JSON object).
  std::string run(const std::string& name, const Arguments& arguments);
  std::string hello();

 private:
  std::string workload(const Arguments& arguments);
  std::string verify(const Arguments& arguments);
  std::string settle_disks(const Arguments& arguments);
  std::string disks();
  std::string heartbeat(const Arguments& arguments);
  std::string corrupt_ram(const Arguments& arguments);
  std::string flood(const Arguments& arguments);
  std::string panic();
  void find_disks();

  Wire& wire_;
  RamRegion ram_;
  std::uint64_t ram_seed_ = 0;
  std::vector<std::unique_ptr<DiskWorkload>> disks_;
  std::map<std::string, std::uint64_t> initialised_;  // device name -> seed of the workload it was written with
};

// Config space of every PCI function: address -> hex, trailing zero bytes left off.
std::string pci_config_json();

}  // namespace migsoak::agent
