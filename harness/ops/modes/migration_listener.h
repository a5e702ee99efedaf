// MigrationListener: who is told what goes on in a migration, and does what a mode can't: raise the destination, let
// the source go. Called on the migration's thread: what it does takes time from it.
#pragma once

#include <string>

#include "base/deadline.h"
#include "base/json.h"
#include "base/result.h"
#include "hypervisor/machine.h"

namespace migsoak::ops {

// How far a migration has come, by its source's word (QAPI MigrationStatus). They come in this order; not every mode,
// setting and build passes through all.
enum class MigrationPhase { setup, active, pre_switchover, device, completed };
std::string to_string(MigrationPhase phase);  // as QAPI spells it

enum class End { source, destination };
std::string to_string(End end);

// What an end was sent, by QAPI's names. Whether it took that shows in the outcome.
struct SentSettings {
  base::Json capabilities = base::Json::object();  // {"x-ignore-shared": true}
  // {"mode": "cpr-reboot"}. cpr-exec-command is the machine's affair (Machine::send_exec) and not among them.
  base::Json parameters = base::Json::object();
};

class MigrationListener {
 public:
  virtual ~MigrationListener() = default;
  // Once for each end, before it sends or loads. Not of a driver that migrates by itself: it sets and opens what it
  // will.
  virtual void settings_sent(End, const SentSettings&) {}
  virtual void channel_opened(const base::Json&) {}  // once: what the source's `migrate` is given, its uri or channels
  virtual void started() {}                // once: the source was told to migrate, and nothing is waited for yet
  virtual void progress() {}               // now and then
  virtual void reached(MigrationPhase) {}  // once for each, at the earliest opportunity
  // All but beside: brings the destination to the point where QMP answers and returns it. kind subject: it ended first.
  virtual base::Result<hypervisor::Machine*> raise(base::Deadline deadline) = 0;
  // afterwards: the source has saved its state: ends it, and returns when it is gone. within: it is gone.
  virtual base::Result<void> release_source() = 0;
};

}  // namespace migsoak::ops
