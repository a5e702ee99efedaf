#include "hypervisor/libvirt_call.h"

#include <libvirt/virterror.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>

// GCC 12 sees a null dereference in asio's inlined scheduler, a false positive.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wnull-dereference"
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#pragma GCC diagnostic pop
#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <thread>
#include <vector>

#include "base/text.h"

namespace migsoak::hypervisor {
using base::ErrorKind;

namespace {

constexpr int kKeepaliveSeconds = 5;
constexpr unsigned kKeepaliveCount = 5;
constexpr std::size_t kLibvirtErrorBytes = 1900;

// Some messages end with lines of a QEMU's log.
std::string in_one_line(const std::string& words) {
  std::vector<std::string> lines = base::split(words, '\n');
  std::erase(lines, "");
  return base::join(lines, " | ");
}

// Signals are the main thread's.
std::thread quiet_thread(std::function<void()> body) {
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread(std::move(body));
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

void stay_silent(void*, virErrorPtr) {}
void let_timer_be(int, void*) {}

// Threads whose owner could not wait for them. Joined when the process ends: all daemons have ended by then.
class OverdueThreads {
 public:
  static OverdueThreads& instance() {
    static OverdueThreads threads;
    return threads;
  }
  void take(std::thread thread) {
    const std::lock_guard lock(mutex_);
    threads_.push_back(std::move(thread));
  }

 private:
  OverdueThreads() = default;
  ~OverdueThreads() {
    for (std::thread& thread : threads_) thread.join();
  }
  std::mutex mutex_;
  std::vector<std::thread> threads_;
};

class EventLoop {
 public:
  // Null when libvirt can't be set up.
  static EventLoop* instance() {
    static EventLoop loop;
    return loop.good_ ? &loop : nullptr;
  }

 private:
  EventLoop() {
    // Its errors are returned; on stderr nobody wants them.
    virSetErrorFunc(nullptr, stay_silent);
    good_ = virInitialize() == 0 && virEventRegisterDefaultImpl() == 0;
    if (!good_) return;
    thread_ = quiet_thread([this] {
      ::prctl(PR_SET_NAME, "libvirt-events");
      while (!ending_) virEventRunDefaultImpl();
    });
  }
  ~EventLoop() {
    if (!good_) return;
    ending_ = true;
    virEventAddTimeout(0, let_timer_be, nullptr, nullptr);  // wakes it
    thread_.join();
  }

  bool good_ = false;
  std::atomic<bool> ending_ = false;
  std::thread thread_;
};

}  // namespace

void LaneInbox::post(std::function<void()> job) {
  const std::lock_guard lock(mutex_);
  if (reactor_ != nullptr) boost::asio::post(reactor_->io(), std::move(job));
}

void LaneInbox::close() {
  const std::lock_guard lock(mutex_);
  reactor_ = nullptr;
}

struct CallThread::State {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::function<void()>> jobs;
  bool busy = false;
  bool ending = false;
};

CallThread::CallThread() : state_(std::make_shared<State>()) {
  thread_ = quiet_thread([state = state_] {
    ::prctl(PR_SET_NAME, "libvirt-call");
    std::unique_lock lock(state->mutex);
    for (;;) {
      state->busy = false;
      state->changed.wait(lock, [&] { return state->ending || !state->jobs.empty(); });
      if (state->ending) return;
      state->busy = true;
      std::function<void()> job = std::move(state->jobs.front());
      state->jobs.pop_front();
      lock.unlock();
      job();
      job = nullptr;  // what it owned goes here, where that may block
      lock.lock();
    }
  });
}

CallThread::~CallThread() {
  bool busy = false;
  {
    const std::lock_guard lock(state_->mutex);
    state_->ending = true;
    busy = state_->busy;
    state_->changed.notify_all();
  }
  if (busy) {
    OverdueThreads::instance().take(std::move(thread_));
  } else {
    thread_.join();
  }
}

void CallThread::run(std::function<void()> job) {
  const std::lock_guard lock(state_->mutex);
  state_->jobs.push_back(std::move(job));
  state_->changed.notify_all();
}

tl::unexpected<base::Error> libvirt_error(const std::string& what) {
  const virError* error = virGetLastError();
  const std::string words = error != nullptr && error->message != nullptr ? error->message : "no reason was given";
  return base::fail(ErrorKind::subject, what + ": " + base::printable(in_one_line(words), kLibvirtErrorBytes));
}

base::Result<void> start_libvirt_events() {
  if (EventLoop::instance() != nullptr) return {};
  return base::fail(ErrorKind::environment, "libvirt's client library can't be set up");
}

LibvirtDomain hold_domain(virDomainPtr domain) {
  return {domain, [](virDomainPtr held) {
            if (held != nullptr) virDomainFree(held);
          }};
}

std::string uuid_of(virDomainPtr domain) {
  std::array<char, VIR_UUID_STRING_BUFLEN> uuid{};
  virDomainGetUUIDString(domain, uuid.data());
  return uuid.data();
}

base::Result<std::string> xml_of(virDomainPtr domain, unsigned flags) {
  const std::unique_ptr<char, decltype(&std::free)> xml(virDomainGetXMLDesc(domain, flags), &std::free);
  if (xml == nullptr) return libvirt_error("XML of the domain");
  return std::string(xml.get());
}

base::Result<LibvirtConnection> open_libvirt(const std::string& uri) {
  virConnectPtr opened = virConnectOpenAuth(uri.c_str(), virConnectAuthPtrDefault, 0);
  if (opened == nullptr) return libvirt_error("connect to " + uri);
  // A daemon that is there and hangs ends the connection after a while, and every call on it.
  (void)virConnectSetKeepAlive(opened, kKeepaliveSeconds, kKeepaliveCount);
  return LibvirtConnection(opened, [](virConnectPtr held) { virConnectClose(held); });
}

}  // namespace migsoak::hypervisor
