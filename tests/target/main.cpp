// The test program is three: the tests, the guardian of their containment, and a backend that connects to QEMU.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "proc/containment.h"

namespace {

migsoak::base::UniqueFd connected_to(const std::string& path) {
  migsoak::base::UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return {};
  return fd;
}

// Connects to each path as soon as someone listens there, and again when that one has gone; ends when it is killed.
[[noreturn]] void play_client(const std::vector<std::string>& paths) {
  constexpr int kLookEveryMs = 5;
  std::vector<migsoak::base::UniqueFd> connections(paths.size());
  for (;;) {
    std::vector<pollfd> waited;
    for (std::size_t i = 0; i < paths.size(); ++i) {
      if (!connections[i].valid()) connections[i] = connected_to(paths[i]);
      waited.push_back({connections[i].valid() ? connections[i].get() : -1, POLLIN, 0});
    }
    (void)::poll(waited.data(), waited.size(), kLookEveryMs);
    for (std::size_t i = 0; i < paths.size(); ++i) {
      if (waited[i].revents != 0) connections[i] = {};
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::string(argv[1]) == "guardian") return migsoak::proc::guardian_main({argv + 1, argv + argc});
  if (argc > 1 && std::string(argv[1]) == "client") play_client({argv + 2, argv + argc});
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
