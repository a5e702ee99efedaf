// What the engine works with all the time, of the rooms scenario, plan and preflight, under its own name.
#pragma once

#include "plan/device_plan.h"
#include "plan/route_plan.h"
#include "preflight/preflight.h"
#include "scenario/scenario.h"

namespace migsoak::engine {

using plan::apply_operation;
using plan::boot_devices;
using plan::declared_reason;
using plan::device_of;
using plan::expected_of;
using plan::is_pcie;
using plan::pluggable_devices_on;
using plan::pluggable_disks;
using plan::properties_of;
using preflight::Preflight;
using scenario::DeadlineScenario;
using scenario::DeviceScenario;
using scenario::GuestScenario;
using scenario::OnLoss;
using scenario::Route;
using scenario::Scenario;
using scenario::SideScenario;
using scenario::TargetScenario;
using scenario::TargetShare;

}  // namespace migsoak::engine
