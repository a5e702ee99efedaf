// Readings: configuration space, virtqueues and device trees of an iteration's QEMUs, read while other things go on.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "engine/lineage.h"
#include "record/journal.h"

namespace migsoak::engine {

class Readings {
 public:
  // Borrows both.
  Readings(Lineage& lineage, record::Journal& journal) : lineage_(lineage), journal_(journal) {}

  // Configuration space and virtqueues of one end: asked for, and taken. `vm` may be null: then nothing is read.
  void begin_config(Vm* vm, hypervisor::ReadPoint point, bool running);
  void finish_config(hypervisor::ReadPoint point);
  void config(Vm* vm, hypervisor::ReadPoint point, bool running);
  void drop_config(hypervisor::ReadPoint point) { config_at(point).reading.reset(); }
  // The device tree of the QEMU in which the guest is.
  void begin_tree(Vm* vm, const char* point);
  void finish_tree();
  void tree(Vm* vm, const char* point);
  // Configuration space as the guest reads it, now and then. Errors are the channel's.
  base::Result<void> config_by_guest();
  // The devices that its command line and device_add named.
  void device_set(const Vm& vm, const char* point);

 private:
  struct ConfigOf {
    std::int64_t process_id = 0;
    std::unique_ptr<hypervisor::ConfigReading> reading;
  };
  ConfigOf& config_at(hypervisor::ReadPoint point) {
    return point == hypervisor::ReadPoint::source ? source_ : destination_;
  }
  base::Deadline answer_deadline() const;

  Lineage& lineage_;
  record::Journal& journal_;
  ConfigOf source_, destination_;
  std::int64_t tree_process_id_ = 0;
  std::optional<hypervisor::DeviceTreeReading> tree_;
};

}  // namespace migsoak::engine
