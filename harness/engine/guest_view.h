// GuestView: the configuration space of every PCI function as the guest itself reads it, for one lineage. What the host
// reads comes from QEMU; what the guest's drivers go by comes through the guest's own accesses, after the load.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "guest/channel.h"
#include "record/observation.h"

namespace migsoak::engine {

class GuestView {
 public:
  // Cost (QEMU 7.2, TCG): CRCs of ten functions, 256 bytes each; the bytes themselves only of functions whose CRC is
  // new for the lineage. Asked for at the lineage's first and every kEvery-th call; nothing in between.
  static constexpr int kEvery = 20;
  static constexpr std::uint64_t kBytes = 256;

  // A config-space Document of point "guest". Errors are the channel's.
  base::Result<std::optional<record::Document>> look(guest::GuestChannel& channel, base::Deadline deadline);

 private:
  std::int64_t calls_ = 0;
  std::map<std::string, std::map<std::string, std::string>> known_;  // address -> CRC -> bytes as hex
};

}  // namespace migsoak::engine
