// The bytes and registers of a report: what differs, what was changed on load, and what that means. Internal to compat.
#pragma once

#include "compat/verdict.h"

namespace migsoak::compat {

// Null when the state was not tried.
const StateFacts* find_state(const DeviceFacts& facts, GuestState state);
// The byte of configuration space that a refused load tripped over; npos: another reason.
std::size_t refused_offset(const StateFacts& state);

// Fills `report.bytes`, `excused_bytes`, `excuses`, and `self` as far as bytes go; its states must be there already.
void add_bytes(const DeviceFacts& facts, const DeviceFacts* control, DeviceReport& report);

}  // namespace migsoak::compat
