// What a guest reads of a device behind a BAR or by a command, before and after the load. Internal to compat.
#pragma once

#include "compat/verdict.h"

namespace migsoak::compat {

// Fills `report.values`, and `self` as far as values go.
void add_values(const DeviceFacts& facts, const DeviceFacts* control, DeviceReport& report);
// Is a value not what it was, though both builds have the same of their own?
bool value_changes_unexplained(const DeviceFacts& facts);

}  // namespace migsoak::compat
