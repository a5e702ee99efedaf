// Internal to detect: where two readings of one PCI function differ in what the device is, guest and traffic left
// aside.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "detect/config_documents.h"

namespace migsoak::detect {

struct ConfigDifference {
  std::string field;  // "BAR0", "capabilities", "MSI-X table size"
  std::size_t offset = 0;
  std::string words;  // "BAR0 I/O: source 0x40 bytes at 0x1000, destination 0x80 bytes"
  base::Json evidence = base::Json::object();
};

struct Reading {
  const record::ConfigFunction* function = nullptr;
  std::string role;  // "source", "destination", "iteration 3"
};

enum class CompareAs {
  sides,          // a running guest's source and the waiting destination
  time,           // two readings of one side's source: what the guest owns may have changed
  time_pristine,  // two readings of one side's destination: no guest had its hands on it, all bits count
};

class ConfigCompare {
 public:
  explicit ConfigCompare(const record::GatePolicy& gate) : gate_(gate) {}

  // BARs of different size, capabilities of one side only, and read-only bits that differ: those that `second` does not
  // let software write. Bytes are compared only where both have them.
  std::vector<ConfigDifference> compare(const Reading& first, const Reading& second, CompareAs as);

  // How often an entry of volatile_config.def held a difference back.
  const std::map<std::string, std::int64_t>& held_back() const { return held_back_; }

  // What a guest reads behind a virtio device's BAR: fields that differ between a source and a destination that waits.
  std::vector<ConfigDifference> compare_device_config(const Reading& source, const Reading& destination);

 private:
  std::uint64_t volatile_bits(const std::string& field, std::uint64_t differing);
  void compare_bytes(const Reading& first, const Reading& second, CompareAs as, std::vector<ConfigDifference>& into);

  record::GatePolicy gate_;
  std::map<std::string, std::int64_t> held_back_;
};

}  // namespace migsoak::detect
