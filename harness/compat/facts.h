// What the throwaway VMs showed of one device: data for verdict.h, no opinion.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "compat/guest_state.h"
#include "compat/virtio_driver.h"
#include "pci/config_image.h"

namespace migsoak::compat {

// A byte that is not what it was before the load.
struct ChangedByte {
  std::size_t offset = 0;
  std::uint8_t before = 0, after = 0;
  std::uint8_t excused = 0;  // bits of the difference that hazards.def calls volatile
  std::string reason;        // of the excuse
};

enum class LoadOutcome {
  loaded,
  refused,  // by the destination, because of this device
  unknown,  // it could not be tried, or nobody answered
};

struct StateFacts {
  GuestState state = GuestState::untouched;
  LoadOutcome outcome = LoadOutcome::unknown;
  std::vector<std::string> lines;  // refused: what the destination said; unknown: why
  std::vector<ChangedByte> changed;
  // Of the drivers' states: what the driver saw before and after.
  VirtioView virtio_before, virtio_after;
};

// A property of visible_properties.def as QEMU's object model tells it.
struct PropertyView {
  std::string property, what;
  bool number = false;
  std::optional<std::string> from, to;  // none: that build's device does not have it
};

struct DeviceFacts {
  DevicePair device;
  std::string path;              // QEMU's, in the VM it was tried in
  std::string unknown_reason;    // why it could not be tried at all
  bool unknown_to_both = false;  // neither build makes it: the user's mistake, when the user asked for it
  bool looked_at = false;        // `view` is filled
  ConfigView view;
  VirtioView own_virtio_from, own_virtio_to;  // each build's own idea, after a reset
  // What the property of each build's device says of its first queue; 0: it has none.
  std::uint32_t queue_property_from = 0, queue_property_to = 0;
  std::vector<PropertyView> properties;
  std::vector<StateFacts> states;
};

}  // namespace migsoak::compat
