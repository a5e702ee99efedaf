#include "engine/migration_session.h"

#include <utility>

namespace migsoak::engine {

using base::Deadline;
using base::Result;
using ops::ProcessOrder;

void MigrationSession::prepare() {
  prepared_ = lineage_.prepare(journal_.plan().destination_side, &mode_, ends_.source, lineage_.devices());
}

Result<ops::MigrationContext> MigrationSession::begin(Deadline deadline, ops::MigrationListener& listener) {
  const Vm* destination = ends_.destination;
  ops::MigrationChannels channels;
  channels.transport = journal_.plan().transport;
  channels.libvirt = journal_.plan().libvirt.value_or(record::LibvirtWay{});
  channels.run_dir = lineage_.context().run_dir;
  channels.tag = destination != nullptr ? destination->machine->spec().instance : prepared_.spec.instance;
  channels.state_file = prepared_.state_file;
  if (destination != nullptr) {
    channels.main_socket = destination->main_socket;
    channels.cpr_socket = destination->cpr_socket;
  }
  if (mode_.needs.process_order == ProcessOrder::in_place) MIGSOAK_TRY(ends_.source->machine->set_exec(prepared_.spec));
  return ops::MigrationContext{lineage_.context().reactor,
                               listener,
                               ends_.source->machine.get(),
                               destination != nullptr ? destination->machine.get() : nullptr,
                               std::move(channels),
                               deadline,
                               &prepared_.spec};
}

Result<hypervisor::Machine*> MigrationSession::raise(Deadline deadline) {
  if (mode_.needs.process_order == ProcessOrder::afterwards || mode_.needs.process_order == ProcessOrder::within) {
    MIGSOAK_ASSIGN(ends_.destination, lineage_.spawn(prepared_, journal_));
  } else if (mode_.needs.process_order == ProcessOrder::in_place) {
    MIGSOAK_ASSIGN(ends_.destination, lineage_.take_over(*ends_.source, prepared_, journal_));
    ends_.source = nullptr;
  }
  MIGSOAK_TRY(lineage_.make_ready(*ends_.destination, deadline));
  return ends_.destination->machine.get();
}

}  // namespace migsoak::engine
