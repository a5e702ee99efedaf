// LibvirtMigration: one migration that libvirt conducts, in the way that the plan says. Internal to hypervisor.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "hypervisor/libvirt_call.h"
#include "hypervisor/machine.h"
#include "record/plan.h"

namespace migsoak::hypervisor {

// What a migration needs of the guest's two sides.
struct LibvirtEnds {
  proc::Reactor& reactor;
  std::shared_ptr<LaneInbox> inbox;
  std::shared_ptr<void> guest;  // keeps what is borrowed here
  LibvirtDomain domain;         // at the source
  CallThread& source_calls;
  CallThread& destination_calls;
  LibvirtConnection destination;
  std::string destination_uri;  // for the source's daemon
  std::function<bool()> destination_started;
  // The daemon keeps a definition of the guest when its domain ends.
  bool& source_defines;
  bool& destination_defines;
};

struct LibvirtJob {
  std::string transport;
  record::LibvirtWay way;
  std::string destination_xml;
  std::string socket_path;         // transport "unix"
  std::string state_path;          // transport "saved": made and removed by the migration
  unsigned downtime_limit_ms = 0;  // 0: QEMU's own
  bool files_shared = false;       // disks are files of this host, which libvirt takes for unsafe
};

class LibvirtMigration : public DrivenMigration {
 public:
  // Begins at once. kind bad_input: there is no such way.
  static base::Result<std::unique_ptr<DrivenMigration>> begin(LibvirtEnds ends, LibvirtJob job);
  ~LibvirtMigration() override;

  bool has_destination() const override { return ends_.destination_started(); }
  bool over() const override { return state_->has_value(); }
  base::Result<void> result() const override;
  void abort() override;
  void start_postcopy() override;
  std::vector<std::pair<std::string, double>> figures(base::Deadline deadline) override;

 private:
  struct Call;
  explicit LibvirtMigration(LibvirtEnds ends) : ends_(std::move(ends)) {}
  static base::Result<void> migrate(const Call& call);
  static base::Result<void> save_and_restore(const Call& call);
  void run(Call call);

  LibvirtEnds ends_;
  std::shared_ptr<std::optional<base::Result<void>>> state_ = std::make_shared<std::optional<base::Result<void>>>();
  std::shared_ptr<bool> asking_postcopy_ = std::make_shared<bool>(false);
  CallThread thread_;
};

// Takes away the definition that a daemon keeps of a guest which does not run there. May block.
base::Result<void> undefine_guest(virConnectPtr connection, const std::string& uuid);

}  // namespace migsoak::hypervisor
