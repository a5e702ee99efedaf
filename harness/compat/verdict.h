// Verdict: from what the throwaway VMs showed of a device to what it means. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "compat/facts.h"

namespace migsoak::compat {

enum class Compatibility {
  same,          // a guest can't tell the builds apart
  compatible,    // something differs, and every state tried loads and is kept
  incompatible,  // some state a guest can bring about is refused or silently changed on load
  unknown,       // it could not be tried, or not wholly
};
std::string_view to_string(Compatibility compatibility);

// One byte of configuration space (or one virtio register) that differs between the builds or was changed on load.
struct ByteReport {
  std::optional<std::size_t> offset;  // in configuration space; none for a register outside it
  std::string field;
  std::uint64_t from = 0, to = 0;
  std::optional<std::uint32_t> mask_from, mask_to;  // writable bits; none outside configuration space
  std::string why;
  bool breaks = false;  // this is why the device is incompatible
};

// What a guest reads behind a BAR or by a command, and that differs or was changed on load.
struct ValueReport {
  std::string field;     // "virtio_net_config.mtu", "serial"
  std::string property;  // QEMU's, that sets it; empty: no single one
  bool number = false;
  std::optional<std::string> from, to;    // each build's own; none: there is no such field
  std::optional<std::string> after_load;  // in the destination; none: not known, or no such field
  std::string why;
  bool breaks = false;
};

struct StateReport {
  GuestState state = GuestState::untouched;
  LoadOutcome outcome = LoadOutcome::unknown;
  std::vector<std::string> lines;  // refused: QEMU's own; unknown: why
  std::string decoded;             // the refusal, in words
  bool self = false;               // refused by the source's own build, too
};

struct DeviceReport {
  DevicePair device;
  std::string path;  // in the VM it was tried in
  Compatibility verdict = Compatibility::unknown;
  std::string reason;  // one line: why it is unknown or incompatible
  bool unknown_to_both = false;
  std::vector<ByteReport> bytes;
  std::vector<ValueReport> values;
  std::vector<StateReport> states;
  std::vector<std::string> self;            // what the source's build does not carry to itself either
  std::size_t excused_bytes = 0;            // changed on load and excused by hazards.def
  std::vector<std::string> excuses;         // their reasons, each once
  std::vector<std::string> vmstate;         // differences between the builds' -dump-vmstate: explains, decides nothing
  std::vector<std::string> machine_compat;  // likewise: machine-type compat properties
};

// `control` (may be null): the same device from the source's build to itself. What fails there as well is put under
// `self` and does not make the pair incompatible.
DeviceReport judge(const DeviceFacts& facts, const DeviceFacts* control = nullptr);
// Is there trouble that the builds' masks do not explain, so that a control is worth its time?
bool wants_control(const DeviceFacts& facts);

}  // namespace migsoak::compat
