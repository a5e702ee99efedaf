// LibvirtMonitor: a QEMU's QMP through the libvirtd that owns it. Internal to hypervisor.
#pragma once

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "hypervisor/libvirt_call.h"
#include "qmp/monitor.h"

namespace migsoak::hypervisor {

// Touched on the lane's thread only.
struct LibvirtMonitorState {
  std::set<std::uint64_t> pending, abandoned;
  std::map<std::uint64_t, base::Result<base::Json>> replies;
  std::deque<qmp::Event> events;
  std::string end_reason;  // empty: it can be asked

  void add_event(qmp::Event event);
};

class LibvirtMonitor : public qmp::Monitor {
 public:
  // `ids`: of the machine's devices, which its users know by these (with_own_ids()).
  LibvirtMonitor(proc::Reactor& reactor, std::shared_ptr<LaneInbox> inbox, LibvirtDomain domain,
                 std::vector<std::string> ids)
      : reactor_(reactor), inbox_(std::move(inbox)), domain_(std::move(domain)), ids_(std::move(ids)) {}

  const std::shared_ptr<LibvirtMonitorState>& state() const { return state_; }
  // The same domain over another connection: its daemon has been started again.
  void rejoin(LibvirtDomain domain) {
    domain_ = std::move(domain);
    state_->end_reason.clear();
  }
  // Of a device that is plugged.
  void add_id(const std::string& id) {
    if (std::find(ids_.begin(), ids_.end(), id) == ids_.end()) ids_.push_back(id);
  }

  bool connected() const override { return state_->end_reason.empty(); }
  std::string end_reason() const override { return state_->end_reason; }
  bool replied(std::uint64_t id) const override { return state_->replies.count(id) > 0; }
  base::Result<base::Json> take_reply(std::uint64_t id, base::Deadline deadline) override;
  std::vector<qmp::Event> take_events() override;
  std::string protocol_error() const override { return ""; }  // libvirtd's to see

 private:
  // A descriptor can't be handed on.
  std::uint64_t send_command(const std::string& command, const base::Json& arguments, int descriptor) override;
  bool find_event(const std::string& name, const std::string& key, const std::string& value) const override;

  proc::Reactor& reactor_;
  std::shared_ptr<LaneInbox> inbox_;
  LibvirtDomain domain_;
  std::vector<std::string> ids_;
  std::shared_ptr<LibvirtMonitorState> state_ = std::make_shared<LibvirtMonitorState>();
  std::uint64_t next_id_ = 1;
  CallThread thread_;
};

}  // namespace migsoak::hypervisor
