#include "proc/spawner_thread.h"

#include <signal.h>
#include <sys/prctl.h>

#include <exception>

#include "base/log.h"

namespace migsoak::proc {

namespace {
void run_guarded(const std::function<void()>& job) {
  try {
    job();
  } catch (const std::exception& error) {
    spdlog::error("a job of the spawner thread threw: {}", error.what());
  }
}
}  // namespace

SpawnerThread::SpawnerThread() {
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { loop(); });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

SpawnerThread::~SpawnerThread() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void SpawnerThread::run(const std::function<void()>& job) {
  if (std::this_thread::get_id() == thread_.get_id()) return run_guarded(job);
  std::unique_lock lock(mutex_);
  Entry entry{&job, false};
  queue_.push_back(&entry);
  changed_.notify_all();
  changed_.wait(lock, [&entry] { return entry.done; });
}

void SpawnerThread::loop() {
  ::prctl(PR_SET_NAME, "spawner");
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return ending_ || !queue_.empty(); });
    if (queue_.empty()) return;
    Entry* entry = queue_.front();
    queue_.pop_front();
    lock.unlock();
    run_guarded(*entry->job);
    lock.lock();
    entry->done = true;
    changed_.notify_all();
  }
}

}  // namespace migsoak::proc
