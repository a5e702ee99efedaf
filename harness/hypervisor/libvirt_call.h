// libvirt's C API from a lane: its calls block, and its callbacks come on a thread of its own. Calls run on a
// CallThread, callbacks on the process's one event loop; both hand what they found to the lane through its LaneInbox.
// Internal to hypervisor.
#pragma once

#include <libvirt/libvirt.h>

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "base/deadline.h"
#include "base/result.h"
#include "proc/reactor.h"

namespace migsoak::hypervisor {

// Runs jobs on the thread of a lane's Reactor, which need not outlive it.
class LaneInbox {
 public:
  explicit LaneInbox(proc::Reactor& reactor) : reactor_(&reactor) {}
  // From any thread. Dropped once closed.
  void post(std::function<void()> job);
  void close();

 private:
  std::mutex mutex_;
  proc::Reactor* reactor_;
};

// A thread for calls that may block; they run one after the other. What is still queued when it goes is dropped, and a
// call that is stuck then is waited for at the process's end only (it returns when its daemon goes): a job owns all
// that it uses.
class CallThread {
 public:
  CallThread();
  ~CallThread();
  CallThread(const CallThread&) = delete;
  CallThread& operator=(const CallThread&) = delete;
  void run(std::function<void()> job);

 private:
  struct State;
  std::shared_ptr<State> state_;
  std::thread thread_;
};

// What the last call of this thread failed with: kind subject, libvirt's own words.
tl::unexpected<base::Error> libvirt_error(const std::string& what);

// Starts libvirt's event loop on a thread of its own, once per process. Before the first connection.
base::Result<void> start_libvirt_events();

using LibvirtConnection = std::shared_ptr<virConnect>;
using LibvirtDomain = std::shared_ptr<virDomain>;
LibvirtDomain hold_domain(virDomainPtr domain);
std::string uuid_of(virDomainPtr domain);
// May block. `flags`: VIR_DOMAIN_XML_…
base::Result<std::string> xml_of(virDomainPtr domain, unsigned flags = 0);

// May block; ends by itself when the daemon answers no more.
base::Result<LibvirtConnection> open_libvirt(const std::string& uri);

// Runs `work` on `thread` and waits for it here. kind timeout: it did not end in time; what comes of it is dropped.
template <typename T>
base::Result<T> call_libvirt(proc::Reactor& reactor, const std::shared_ptr<LaneInbox>& inbox, CallThread& thread,
                             base::Deadline deadline, const std::string& what, std::function<base::Result<T>()> work) {
  auto slot = std::make_shared<std::optional<base::Result<T>>>();
  thread.run([slot, inbox, work = std::move(work)] {
    auto result = std::make_shared<base::Result<T>>(work());
    inbox->post([slot, result] { slot->emplace(std::move(*result)); });
  });
  const auto waited = reactor.run_until([&] { return slot->has_value(); }, deadline);
  if (slot->has_value()) return std::move(**slot);
  if (waited == proc::Wait::interrupted) {
    return base::fail(base::ErrorKind::interrupted, "interrupted while waiting for libvirt: " + what);
  }
  return base::fail(base::ErrorKind::timeout, "libvirt did not answer in time: " + what);
}

}  // namespace migsoak::hypervisor
