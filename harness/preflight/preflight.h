// Preflight: what must be known before a run begins, found without the sides' env and wrappers.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "fleet/inspect.h"
#include "guest/image.h"
#include "hypervisor/machine.h"
#include "record/manifest.h"
#include "record/plan.h"
#include "scenario/scenario.h"

namespace migsoak::preflight {

using scenario::Scenario;
using scenario::SideScenario;
struct Preflight {
  guest::GuestImage image;
  std::string accel;                            // "kvm" | "tcg"
  std::map<std::string, fleet::Identity> qemu;  // keyed by the scenario's `qemu`
  std::map<std::string, fleet::Build> builds;   // keyed by the scenario's `qemu`: how each is started
  std::map<std::string, std::string> machines;  // see machine_for()
  // The machine type of a guest that goes to and fro between the sides of this plan.
  std::string machine_for(const record::Plan& plan) const;
  // Known defects of the builds (record/known_defects.def) that the guests' machine is shaped to avoid, and the shape.
  std::vector<std::string> avoided_defects;
  std::uint64_t memory_extra_bytes = 0;
  bool wants_aux_ram_share = false;  // some mode of the scenario needs it
  // -machine aux-ram-share=on for this side: wanted, and its build has it.
  bool aux_ram_share(const SideScenario& side) const;
  std::map<std::string, std::string> packages;  // of QEMUs and targets, by the scenario's words
};

// kind bad_input: not a QEMU, no such target program, no guest image.
base::Result<Preflight> run_preflight(proc::Reactor& reactor, proc::Containment& containment, const Scenario& scenario,
                                      const std::string& run_dir);

record::Manifest make_manifest(const Scenario& scenario, const Preflight& preflight, const std::string& run_id,
                               proc::ContainmentLevel containment);

}  // namespace migsoak::preflight
