#include "hypervisor/driver.h"

#include <cassert>

namespace migsoak::hypervisor {

#define DRIVER(function) DriverKind driver_kind_##function();
#include "hypervisor/drivers.def"
#undef DRIVER

const std::vector<DriverKind>& driver_kinds() {
  static const std::vector<DriverKind> kinds = {
#define DRIVER(function) driver_kind_##function(),
#include "hypervisor/drivers.def"
#undef DRIVER
  };
  return kinds;
}

const DriverKind* find_driver_kind(const std::string& name) {
  for (const DriverKind& kind : driver_kinds()) {
    if (kind.name == name) return &kind;
  }
  return nullptr;
}

std::vector<std::string> driver_names() {
  std::vector<std::string> names;
  for (const DriverKind& kind : driver_kinds()) names.push_back(kind.name);
  return names;
}

base::Result<void> Driver::begin_guest(const GuestPlace&, base::Deadline) {
  return {};
}

base::Result<void> Driver::start_again(DriverDaemon& daemon) {
  return base::fail(base::ErrorKind::subject, daemon.name() + " can't be started again");
}

base::Result<void> Driver::rejoin(DriverDaemon& daemon, base::Deadline) {
  return base::fail(base::ErrorKind::subject, daemon.name() + " can't be started again");
}

base::Result<std::unique_ptr<DrivenMigration>> Machine::begin_migration(const MachineSpec&, const std::string&,
                                                                        const record::LibvirtWay&) {
  return base::fail(base::ErrorKind::bad_input, "this driver does not migrate by itself");
}

Driver& Drivers::named(const std::string& name) {
  std::unique_ptr<Driver>& driver = made_[name];
  if (driver == nullptr) {
    const DriverKind* kind = find_driver_kind(name);
    assert(kind != nullptr && reactor_ != nullptr);
    driver = kind->make(*reactor_, *containment_);
  }
  return *driver;
}

}  // namespace migsoak::hypervisor
