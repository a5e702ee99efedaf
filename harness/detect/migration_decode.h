// What QEMU's migration errors mean, in words.
#pragma once

#include <optional>
#include <string>

#include "base/json.h"

namespace migsoak::detect {

struct DecodedError {
  std::string kind;        // "config-space", "virtqueue-size", ...: the finding's kind
  std::string words;       // what it means
  std::string identity;    // what stays the same across runs, for the fingerprint; empty: the line itself
  std::string device;      // that the line names, as QEMU's stream calls it; empty: none
  bool of_source = false;  // the source's trouble, whoever told of it
  // What the host lacks, or somebody else has: no fault of what is under test.
  bool of_environment = false;
  base::Json fields = base::Json::object();
};

// One line of a log or an error description.
std::optional<DecodedError> decode_migration_error(const std::string& line);
// "0000:00:0b.0/virtio-blk" of "error while loading state for instance 0x0 of device '...'"; empty when not named.
std::string device_in_error(const std::string& line);

}  // namespace migsoak::detect
