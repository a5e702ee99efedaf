// TargetSpec: all that decides a target's process.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "target/endpoint.h"
#include "target/options.h"

namespace migsoak::target {

// What a scenario's [[target]] says of the process, whatever its kind.
struct TargetSettings {
  std::string name;  // "disk0"
  std::string kind = "qemu-storage-daemon";
  std::string binary;  // program or path; empty: the kind's own
  Options options;     // of the kind
  std::optional<std::uint64_t> nofile;
  std::map<std::string, std::string> env;
  std::vector<std::string> wrapper;
};

// A device that the target serves.
struct ServedDevice {
  std::string id;     // of the scenario's device
  std::string image;  // block: a raw file, which exists; empty: TargetKind::null_disks
  int queues = 1;     // of its endpoints
  EndpointType type = EndpointType::block;
};

struct TargetSpec : TargetSettings {
  std::string process;  // "target:disk0" or "target:disk0@a": its name in the record
  std::vector<ServedDevice> devices;
  std::vector<std::string> slots;  // places for one QEMU each: "0" "1" "2"
  std::string run_dir;             // where the sockets go
  std::string log_file;
  bool log_append = false;  // what another process of this name has written there stays
};

}  // namespace migsoak::target
