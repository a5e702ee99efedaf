// GuestChannel: the host's end of the agent's channel (guest-images/agent/PROTOCOL.md), across migrations.
//
// Each QEMU serves the guest's second serial port (ISA, ttyS1) on a unix socket. One guest talks on several sockets in
// its life: the source's until the switch-over, the destination's from then on. A line that was cut by the switch-over
// is joined: the bytes of the old stream, up to its end, go before the bytes of the new one.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/deadline.h"
#include "base/json.h"
#include "guest/devices.h"
#include "proc/reactor.h"

namespace migsoak::guest {

struct Heartbeat {
  std::uint64_t sequence = 0;
  std::int64_t guest_ns = 0;  // the guest's CLOCK_MONOTONIC
  base::Clock::time_point arrived;
  int stream = 0;
};

// The longest silence between two heartbeats since the last take_gap().
struct HeartbeatGap {
  double host_ms = 0;      // by arrival on the host: what a client of the guest sees
  double guest_ms = 0;     // by the guest's own clock
  std::uint64_t lost = 0;  // sequence numbers that never arrived
};

enum class Workload { idle, dirty, verify };

struct WorkloadSpec {
  Workload kind = Workload::verify;
  std::uint64_t ram_bytes = 32u << 20;  // region that is patterned, dirtied and verified
  std::uint64_t dirty_bytes_per_s = 8u << 20;
  std::uint64_t disk_bytes_per_s = 4u << 20;  // per disk
  int disk_queue_depth = 1;                   // writers in flight per disk
  std::uint64_t seed = 1;
};

// Answer to one verification.
struct RamReport {
  std::uint64_t verified_bytes = 0;
  std::uint64_t pages_stale = 0;      // an older generation of the right page
  std::uint64_t pages_misplaced = 0;  // another page's content
  std::uint64_t pages_garbage = 0;    // neither
  base::Json first;                   // the first bad page: index, expected, found
  bool good() const { return pages_stale + pages_misplaced + pages_garbage == 0; }
};
struct DiskReport {
  std::string id;  // the device id: the disk's serial number
  // Where the guest finds it: "0000:00:04.0". A vhost-user disk's serial number comes from the target (a storage daemon
  // says "vhost_user_blk" of every disk), so the address is what tells those apart.
  std::string pci_address;
  std::uint64_t verified_bytes = 0, written_bytes = 0;
  std::uint64_t lost = 0, stale = 0, torn = 0, misplaced = 0, garbage = 0, io_errors = 0;
  bool hangs = false;  // a request was never answered; also counted in io_errors
  std::string scsi;    // "0:1:0" of a SCSI disk
  bool gone = false;   // the guest does not have it any more; counted in io_errors unless removal_expected
  bool removal_expected = false;
  base::Json first;
  bool good() const { return lost + stale + torn + misplaced + garbage + io_errors == 0; }
};
// A network interface, random number generator or serial port that the verification used once.
struct DeviceUse {
  std::string kind;  // "net" "rng" "port"
  std::string name;  // "eth0" "virtio_rng.0", the port's name
  std::string result;
  bool good() const { return result == "ok"; }
};
struct VerifyReport {
  RamReport ram;
  std::vector<DiskReport> disks;
  std::vector<DeviceUse> devices;
  double guest_ms = 0;  // what it took, by the guest's clock
};
struct Hello {
  std::string agent_version;
  std::string kernel;
  double boot_ms = 0;  // guest uptime at hello
  std::vector<std::string> disks;
};

// The answers to adopt_disk and release_disk.
struct AdoptReport {
  std::string name;  // "vdb"
  std::string serial;
  std::uint64_t size_bytes = 0, area_bytes = 0;
  bool content_kept = false;  // then `disk` tells whether all of it was there
  DiskReport disk;            // hangs: it was not filled or checked in time
  double guest_ms = 0;
};
struct ReleaseReport {
  bool released = false;  // false: a request still hangs; the agent lets go when it returns
  DiskReport disk;        // the last verification
  double guest_ms = 0;
};

// A command under way.
struct PendingCommand {
  std::uint64_t id = 0;
  std::string name;
};

class GuestChannel {
 public:
  explicit GuestChannel(proc::Reactor& reactor);
  ~GuestChannel();
  GuestChannel(const GuestChannel&) = delete;
  GuestChannel& operator=(const GuestChannel&) = delete;

  // Connects to a QEMU's agent socket; returns the new stream's number. Older streams stay attached.
  base::Result<int> attach(const std::string& socket_path, base::Deadline deadline);
  // Commands go to this stream from now on (after a switch-over: the destination's).
  void make_active(int stream);
  // Drops a stream (its QEMU is gone, or never ran the guest).
  void detach(int stream);
  bool stream_open(int stream) const;

  // Every wait below ends early, with kind subject, when no attached stream is open any more (its QEMU is gone), or
  // when `died` says that the guest will never answer (its console tells).
  void end_waits_when(std::function<bool()> died);
  std::optional<Heartbeat> last_heartbeat() const;
  std::uint64_t heartbeats_on(int stream) const;
  // Waits for the first heartbeat on that stream.
  base::Result<Heartbeat> wait_heartbeat(int stream, base::Deadline deadline);
  // The next heartbeat that arrives after this call, on any stream.
  base::Result<Heartbeat> wait_next_heartbeat(base::Deadline deadline);
  HeartbeatGap take_gap();

  base::Result<Hello> wait_hello(base::Deadline deadline);
  base::Result<void> start_workload(const WorkloadSpec& spec, base::Deadline deadline);
  // Verifies at least so many bytes of RAM and of every disk. The workload goes on afterwards.
  // kind timeout: the guest did not answer; kind subject: it answered nonsense.
  base::Result<VerifyReport> verify(std::uint64_t ram_bytes_min, std::uint64_t disk_bytes_min, base::Deadline deadline);
  // The same in two steps, so that other work can go on meanwhile.
  base::Result<void> begin_verify(std::uint64_t ram_bytes_min, std::uint64_t disk_bytes_min);
  bool verify_answered() const;
  base::Result<VerifyReport> finish_verify(base::Deadline deadline);

  // One raw command and its answer (requests carry an id and are repeated once a second until answered; the agent
  // answers a repeated id from memory).
  base::Result<base::Json> command(const std::string& name, const base::Json& arguments, base::Deadline deadline);
  // The same in two steps. The agent runs one command after another, save `await`, which it runs beside the others.
  base::Result<PendingCommand> begin_command(const std::string& name, const base::Json& arguments);
  bool answered(const PendingCommand& command) const;
  base::Result<base::Json> finish_command(const PendingCommand& command, base::Deadline deadline);
  void forget(const PendingCommand& command);

  // Config space of PCI functions as the guest sees it: address "0000:00:04.0" -> hex bytes. All functions when the
  // list is empty; at most bytes_max of each.
  base::Result<std::map<std::string, std::string>> pci_config(base::Deadline deadline,
                                                              const std::vector<std::string>& addresses = {},
                                                              std::uint64_t bytes_max = 4096);
  // CRC-32 (8 hex digits) of the same bytes: address -> digest.
  base::Result<std::map<std::string, std::string>> pci_config_digest(base::Deadline deadline,
                                                                     const std::vector<std::string>& addresses = {},
                                                                     std::uint64_t bytes_max = 4096);

  // Everything the guest has; `parts` (comma-separated: pci, block, net, port, rng, memory, cpu) leaves out the others.
  // With the digest of an earlier inventory of the same parts the answer is short when nothing has changed.
  base::Result<Inventory> inventory(base::Deadline deadline, const std::string& parts = "",
                                    const std::string& since_digest = "");
  // Asks the guest to say when a plug or an unplug has been handled. Any number may be under way; finish_await()
  // returns as soon as the state holds, or when spec.timeout_ms are over with holds = false. kind bad_input: no such
  // thing to wait for.
  base::Result<PendingCommand> begin_await(const AwaitSpec& spec);
  base::Result<AwaitReport> finish_await(const PendingCommand& command, base::Deadline deadline);
  base::Result<AwaitReport> await_device(const AwaitSpec& spec, base::Deadline deadline);

  // Makes the workload use a disk that was plugged: waits for it, fills its first area_bytes, or checks them (see
  // DiskContent). From then on verify() reports it under disk.id (its serial number when that is empty).
  // kind subject: the guest has no such disk, or refuses.
  base::Result<AdoptReport> adopt_disk(const DiskIdentity& disk, base::Deadline deadline,
                                       DiskContent content = DiskContent::automatic,
                                       std::uint64_t area_bytes = 4u << 20);
  // Ends the I/O, verifies at least disk_bytes_min and closes the disk. What it holds is remembered under its id.
  base::Result<ReleaseReport> release_disk(const DiskIdentity& disk, base::Deadline deadline,
                                           std::uint64_t disk_bytes_min = 1u << 30);
  // The disk is going to be unplugged while in use: its I/O errors from now on are no fault, and when it is gone the
  // workload drops it as if released. `expected` = false takes that back.
  base::Result<void> expect_removal(const DiskIdentity& disk, base::Deadline deadline, bool expected = true);

  // Lines that the protocol does not allow, printable and bounded; counted when there are many.
  std::vector<std::string> take_protocol_errors();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace migsoak::guest
