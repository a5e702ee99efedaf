#include "ops/modes/peer_status.h"

#include "base/json.h"

namespace migsoak::ops {

namespace {
// Events tell the outcome; this often the state is asked for as well, in case one was lost.
constexpr std::chrono::milliseconds kPollEvery{200};
// The first polls of a QEMU whose events may have come before its QMP connection.
constexpr std::chrono::milliseconds kPollSoon{2};
}  // namespace

PeerStatus::PeerStatus(hypervisor::Machine& machine, bool at_once)
    : machine_(machine), next_poll_(base::Clock::now() + (at_once ? kPollSoon : kPollEvery)) {}

bool PeerStatus::saw(const char* status) const {
  return machine_.qmp().has_event("MIGRATION", "status", status) || polled_status_ == status;
}

bool PeerStatus::resumed() const {
  return machine_.qmp().has_event("RESUME") || polled_running_;
}

void PeerStatus::poll() {
  qmp::Monitor& client = machine_.qmp();
  if (!asked_) {
    if (base::Clock::now() < next_poll_ || !client.connected()) return;
    migrate_id_ = client.send("query-migrate");
    status_id_ = client.send("query-status");
    asked_ = true;
  }
  if (!client.replied(migrate_id_) || !client.replied(status_id_)) return;
  const auto now = base::Deadline::in(std::chrono::milliseconds(0));
  const auto migrate = client.take_reply(migrate_id_, now);
  const auto status = client.take_reply(status_id_, now);
  if (migrate) polled_status_ = base::json_get<std::string>(*migrate, "status", "");
  if (status) polled_running_ = base::json_get<bool>(*status, "running", false);
  asked_ = false;
  next_poll_ = base::Clock::now() + kPollEvery;
}

}  // namespace migsoak::ops
