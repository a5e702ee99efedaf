#include "engine/migration_session.h"

#include <utility>

namespace migsoak::engine {

using base::Deadline;
using base::Result;
using ops::Succession;

void MigrationSession::prepare() {
  prepared_ = lineage_.prepare(journal_.plan().destination_side, &mode_, ends_.source, lineage_.devices());
}

ops::MigrationContext MigrationSession::context(Deadline deadline) const {
  const Vm* destination = ends_.destination;
  ops::MigrationContext migration{
      lineage_.context().reactor,
      ends_.source->machine.get(),
      destination != nullptr ? destination->machine.get() : nullptr,
      journal_.plan().transport,
      lineage_.context().run_dir,
      destination != nullptr ? destination->machine->spec().instance : prepared_.spec.instance,
      deadline,
      {}};
  migration.state_file = prepared_.state_file;
  migration.next = &prepared_.spec;
  if (destination != nullptr) {
    migration.main_socket = destination->main_socket;
    migration.cpr_socket = destination->cpr_socket;
  }
  return migration;
}

Result<ops::MigrationContext> MigrationSession::begin(Deadline deadline, MigrationListener& listener) {
  ops::MigrationContext migration = context(deadline);
  if (mode_.needs.succession == Succession::in_place) {
    MIGSOAK_TRY(ends_.source->machine->set_exec(prepared_.spec));
  }
  migration.on_started = [&listener] { listener.started(); };
  migration.on_progress = [&listener] { listener.progress(); };
  migration.on_phase = [&listener](ops::MigrationPhase phase) { listener.reached(phase); };
  migration.release_source = [&listener] { return listener.end_source(); };
  migration.raise = [this, &listener](Deadline by) { return raise(by, listener); };
  return migration;
}

// Starts (or execs into) a destination that can only be reached after the source has sent or saved its state, and waits
// for its QMP.
Result<hypervisor::Machine*> MigrationSession::raise(Deadline deadline, MigrationListener& listener) {
  if (mode_.needs.succession == Succession::afterwards || mode_.needs.succession == Succession::within) {
    MIGSOAK_ASSIGN(ends_.destination, lineage_.spawn(prepared_, journal_));
  } else if (mode_.needs.succession == Succession::in_place) {
    MIGSOAK_ASSIGN(ends_.destination, lineage_.take_over(*ends_.source, prepared_, journal_));
    ends_.source = nullptr;
  }
  MIGSOAK_TRY(lineage_.make_ready(*ends_.destination, deadline));
  listener.destination_ready(*ends_.destination);
  return ends_.destination->machine.get();
}

}  // namespace migsoak::engine
