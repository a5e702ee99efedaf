// DriverDaemons: the processes of the driver's that serve a guest's VMs, such as libvirtd.
#pragma once

#include <cstdint>
#include <list>
#include <string>
#include <vector>

#include "base/deadline.h"
#include "base/result.h"
#include "engine/lane_context.h"
#include "hypervisor/driver.h"
#include "probes/probe.h"
#include "record/journal.h"

namespace migsoak::engine {

struct DaemonInstance {
  hypervisor::DriverDaemon* daemon = nullptr;  // the driver's
  std::string name;                            // "libvirtd:a"
  std::int64_t process_id = 0;
  bool lost = false;        // its end was recorded
  bool restarting = false;  // its end is expected
};

class DriverDaemons {
 public:
  // Borrows both.
  DriverDaemons(const LaneContext& context, probes::ProbeState& probe_state);
  // The driver ends them; nothing is recorded any more.
  ~DriverDaemons();
  DriverDaemons(const DriverDaemons&) = delete;
  DriverDaemons& operator=(const DriverDaemons&) = delete;

  // What the driver needs beside its VMs; nothing, mostly. Errors of kind subject and timeout name the process:
  // `blamed` is set to it.
  base::Result<void> start(record::Journal& journal, std::string& blamed);
  // Records unexpected ends; true when there was one.
  bool note_unexpected_ends(record::Journal& journal);

  // What each says that it has (hypervisor::Driver::domains); none: nothing.
  std::vector<hypervisor::Driver::DaemonDomains> domains(base::Deadline deadline) const;
  // A restart, in this order: it ended as asked, which is recorded (its log is to be drained before); another process
  // is started, and recorded; it is waited for, see Driver::rejoin().
  void note_stopped(const DaemonInstance& instance, record::Journal& journal);
  base::Result<void> start_again(DaemonInstance& instance, record::Journal& journal);
  base::Result<void> rejoin(DaemonInstance& instance, base::Deadline deadline);

  const std::list<DaemonInstance>& all() const { return instances_; }
  // Null: none.
  const DaemonInstance* find(const std::string& name) const;
  // The one of that name that is not lost; null: none.
  DaemonInstance* live(const std::string& name);
  bool any_lost() const;
  // The first that lives and does not answer; null: none.
  const DaemonInstance* silent() const;

 private:
  hypervisor::Driver& driver() const;
  void note_started(DaemonInstance& instance, record::Journal& journal);

  const LaneContext& context_;
  probes::ProbeState& probe_state_;
  bool begun_ = false;
  std::list<DaemonInstance> instances_;
};

}  // namespace migsoak::engine
