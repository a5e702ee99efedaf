// Reading and mending the two ends of a migration: figures, states, the guest's return to the source.
// For the modes that have a source and a destination process, and for who attempts one (engine/upgrade_attempt).
#pragma once

#include <string>

#include "ops/modes/mode.h"

namespace migsoak::ops {

// From query-migrate (QAPI MigrationInfo) to metric names with units; keys that are not there are left out.
std::vector<std::pair<std::string, double>> figures_of(const base::Json& query_migrate);

// Neither ended nor without QMP.
bool reachable(hypervisor::Machine& machine);

// "destination ended (exit status 1): last | lines" or why its QMP ended; waits a moment for the exit to be learnt.
std::string describe_loss(proc::Reactor& reactor, hypervisor::Machine& machine, const std::string& which);

// query-migrate of both ends into the outcome, as far as they are there and answer soon.
void collect_statuses(MigrationContext& context, MigrationOutcome& outcome);

// Cancels what is under way and, when `may_continue`, has the source's guest running again. True: it was seen running.
bool restore_source(proc::Reactor& reactor, hypervisor::Machine& source, bool may_continue);

}  // namespace migsoak::ops
