// The thread that forks. Internal to proc.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace migsoak::proc {

// All signals are blocked in it: handlers run on other threads, and never between fork and exec.
class SpawnerThread {
 public:
  SpawnerThread();
  ~SpawnerThread();
  SpawnerThread(const SpawnerThread&) = delete;
  SpawnerThread& operator=(const SpawnerThread&) = delete;

  // Runs the job on the thread and waits for its end, without a deadline: jobs have theirs (SpawnRequest::exec_max),
  // and one that was given up would go on using what its caller has lent it. A job that throws is logged.
  void run(const std::function<void()>& job);

 private:
  struct Entry {
    const std::function<void()>* job;
    bool done;
  };
  void loop();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Entry*> queue_;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace migsoak::proc
