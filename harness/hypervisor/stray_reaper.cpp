#include "hypervisor/stray_reaper.h"

// GCC 12 sees a null dereference in asio's inlined scheduler, a false positive.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wnull-dereference"
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#pragma GCC diagnostic pop

namespace migsoak::hypervisor {

namespace {
constexpr std::chrono::milliseconds kReapEvery{20};
}

struct StrayReaper::Impl : std::enable_shared_from_this<StrayReaper::Impl> {
  Impl(proc::Reactor& reactor, proc::Containment& containment_in) : containment(containment_in), timer(reactor.io()) {}

  void look() {
    (void)containment.reparented();  // reaps those that have ended
    timer.expires_after(kReapEvery);
    timer.async_wait([weak = weak_from_this()](const boost::system::error_code& error) {
      const auto self = weak.lock();
      if (self && !error) self->look();
    });
  }

  proc::Containment& containment;
  boost::asio::steady_timer timer;
};

StrayReaper::StrayReaper(proc::Reactor& reactor, proc::Containment& containment) {
  if (containment.level() == proc::ContainmentLevel::pid_namespace) return;
  impl_ = std::make_shared<Impl>(reactor, containment);
  impl_->look();
}

StrayReaper::~StrayReaper() = default;

}  // namespace migsoak::hypervisor
