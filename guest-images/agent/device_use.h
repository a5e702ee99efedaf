// Light use of what is neither disk nor memory, so that these devices are alive when they migrate: a frame is sent
// through every network interface, a few bytes are read from every random number generator and written to every serial
// port.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

namespace migsoak::agent {

class DeviceUse {
 public:
  // Uses all that is there, in a thread of its own: a dead device must not block the agent.
  void begin();
  // JSON rows [kind, name, "ok" or what went wrong] of the last begin(); empty when there is no such device.
  std::string finish(std::int64_t until_ns);

 private:
  struct Use {
    std::string kind;
    std::string name;
    std::string result;
  };
  void use_forever();
  void use_all();
  // Notes what is being used, so that a device that hangs is known by name, and how it went.
  void use(const std::string& kind, const std::string& name, std::string (*with)(const std::string&),
           const std::string& argument);

  std::mutex mutex_;
  std::condition_variable changed_;
  bool started_ = false;
  bool busy_ = false;
  std::vector<Use> uses_;
};

}  // namespace migsoak::agent
