// Readings: configuration space, virtqueues and device trees of an iteration's QEMUs, read while other things go on.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "engine/lineage.h"
#include "engine/reads.h"
#include "record/journal.h"

namespace migsoak::engine {

class Readings {
 public:
  // Borrows all. `reads` is told what was wanted and what failed.
  Readings(Lineage& lineage, record::Journal& journal, Reads& reads)
      : lineage_(lineage), journal_(journal), reads_(reads) {}

  // Configuration space and virtqueues of one end: asked for, and taken. `vm` may be null: then nothing is read.
  void begin_config(Vm* vm, hypervisor::ReadPoint point, bool running);
  void finish_config(hypervisor::ReadPoint point);
  void config(Vm* vm, hypervisor::ReadPoint point, bool running);
  // It is not compared any more.
  void drop_destination();
  // The device tree of the QEMU in which the guest is.
  void begin_tree(Vm* vm, const char* point);
  void finish_tree();
  void tree(Vm* vm, const char* point);
  // And of the one that waits for the guest. One that answers only with the guest in it has no tree of before the load.
  void begin_waiting_tree(Vm* vm);
  void finish_waiting_tree();
  // What the driver's daemons say that they have; nothing where there are none.
  void domains(const char* point);
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
    return point == hypervisor::ReadPoint::source        ? source_
           : point == hypervisor::ReadPoint::destination ? destination_
                                                         : arrived_;
  }
  struct TreeOf {
    std::int64_t process_id = 0;
    std::optional<hypervisor::DeviceTreeReading> reading;
  };
  base::Deadline answer_deadline() const;
  TreeOf send_for_tree(Vm* vm, const char* point);
  void take_tree(const hypervisor::DeviceTreeReading& reading, const char* took);

  Lineage& lineage_;
  record::Journal& journal_;
  Reads& reads_;
  ConfigOf source_, destination_, arrived_;
  TreeOf tree_, waiting_tree_;
};

}  // namespace migsoak::engine
