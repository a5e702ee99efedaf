// ConfigReader: configuration space of every PCI function and the state of every virtqueue, from outside a QEMU.
//
// Where it may be used: on a source that is paused (after the migration completed), and on a destination that waits for
// its stream. On a machine that runs only with `running` set: reading through the ports moves the guest's own latch
// (0xcf8), and x-query-virtio-queue-status asks a *running* vhost-user back end for its ring base, which stops the ring
// (docs/interop/vhost-user, VHOST_USER_GET_VRING_BASE).
//
// Nothing in a source is written but that latch, which gets its value back. A waiting destination is written to (ECAM
// is switched on, bridges get bus numbers, without which what is behind them can't be read) and gets its values back;
// the stream replaces them all anyway.
//
// Cost (QEMU 7.2, TCG, busy 2-core machine): a human-monitor command 0.13-0.17 ms. ECAM (q35) needs one or two per
// function, 5 ms in all for a source, 7 ms for a destination; ports (pc) 128 for 256 bytes, 17 ms. Hence SamplingRule.
// (A monitor of the human kind on a socket of its own does the same in half of the time; not worth a descriptor more in
// every QEMU.)
// Device configuration, which lies behind a BAR, takes a command for each number of a running source, which has its
// BARs mapped (xp, no side effects: virtio 1.2, 4.1.4.6; never the ISR register), and seven of a destination, which
// hasn't: it is read through the window in configuration space (4.1.4.9). A device without the modern registers is not
// read. query-pci (every function's BARs, addresses and sizes) costs 0.3 ms in all and is asked for every time.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/deadline.h"
#include "qmp/monitor.h"
#include "record/config_space.h"
#include "record/observation.h"

namespace migsoak::hypervisor {

// `arrived`: a destination that could not be asked before it had the guest; of one that runs
// (ConfigReadRequest::running).
enum class ReadPoint { source, destination, arrived };
// What documents call it: "source", "destination", "arrived".
const char* to_string(ReadPoint point);

// Which functions' bytes are read when it takes ports: those never read before at that point and side; and at every
// `every`-th reading of a destination one more, that which was not read for longest there. It is read again on the
// source of the same iteration, so that the two can be compared. Through ECAM all are read every time. A virtio
// device's device configuration goes by the same rule on both.
struct SamplingRule {
  int every = 3;
};
inline constexpr const char* kSamplingReason =
    "without ECAM 256 bytes take 128 monitor commands (17 ms and more): new functions at once, then one after the "
    "other at every third reading, BARs and sizes every time";

struct ConfigReadRequest {
  ReadPoint point = ReadPoint::source;
  std::string subject;          // process name for the documents: "qemu:a"
  std::int64_t process_id = 0;  // ProcessInstance::id
  std::string side;             // what the sampling remembers by
  bool all_bytes = false;       // whatever the rule says
  // The machine runs (the source of a refused load, resumed): query-pci only, which touches nothing.
  bool running = false;
  // The build is one that tells of its virtqueues (7.2 and later): if it does not, that is a read that failed.
  bool tells_virtqueues = false;
};

// What of a reading was wanted and is not there, or not whole. `read`: a name of record/reads.def.
struct MissedRead {
  std::string read, why;
};

// One reading in flight. Sends without waiting: begin() the first commands, advance() what follows from answers that
// have come in. The Monitor (not owned) has to outlive it. May be dropped unfinished: whatever moves the latch puts it
// back in the same breath; a destination may then keep its ECAM and bus numbers.
class ConfigReading {
 public:
  ~ConfigReading();
  ConfigReading(const ConfigReading&) = delete;
  ConfigReading& operator=(const ConfigReading&) = delete;

  // Never waits. Worth calling whenever the Reactor ran for something else.
  void advance();
  bool done() const;
  // Waits for the rest. Documents: config-space, and virtqueues where the build tells (QEMU 7.2 and later). Kind
  // subject: QMP ended or query-pci failed. kind timeout: no answer by the deadline.
  base::Result<std::vector<record::Document>> finish(base::Deadline deadline);

  const ConfigReadRequest& request() const;
  // Of a finished one.
  const std::vector<MissedRead>& missed() const;
  int commands_sent() const;

 private:
  friend class ConfigReader;
  struct Impl;
  explicit ConfigReading(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Keeps, for one lineage, what the sampling goes by. Owns nothing of the machines it reads.
class ConfigReader {
 public:
  explicit ConfigReader(SamplingRule rule = {}) : rule_(rule) {}

  // `client`: connected and negotiated.
  std::unique_ptr<ConfigReading> begin(qmp::Monitor& client, ConfigReadRequest request);

 private:
  friend class ConfigReading;
  struct Memory {
    int readings = 0;
    std::map<std::string, int> last_read;  // "path vendor:device" -> number of the reading
  };
  SamplingRule rule_;
  std::map<std::string, std::shared_ptr<Memory>> memories_;  // by point and side
  // What the last destination read although it was known, for the source to follow; empty: nothing.
  std::shared_ptr<std::string> turn_ = std::make_shared<std::string>();
};

}  // namespace migsoak::hypervisor
