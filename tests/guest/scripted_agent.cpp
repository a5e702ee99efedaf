#include "guest/scripted_agent.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>

#include "guest/line_frame.h"

namespace migsoak::guest {

ScriptedAgent::ScriptedAgent(const std::string& path) {
  listener_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  EXPECT_EQ(::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0) << path;
  EXPECT_EQ(::listen(listener_.get(), 4), 0);
}

void ScriptedAgent::accept() {
  peer_.reset(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  EXPECT_TRUE(peer_.valid());
}

void ScriptedAgent::say(const std::string& bytes) {
  EXPECT_EQ(::send(peer_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
}

void ScriptedAgent::say_line(const std::string& text) {
  say(frame_line(text));
}

std::vector<std::string> ScriptedAgent::heard() {
  char buffer[4096];
  for (ssize_t got; (got = ::read(peer_.get(), buffer, sizeof buffer)) > 0;) {
    pending_.append(buffer, static_cast<std::size_t>(got));
  }
  std::vector<std::string> lines;
  for (std::size_t end; (end = pending_.find('\n')) != std::string::npos; pending_.erase(0, end + 1)) {
    const std::string line = pending_.substr(0, end);
    if (line.empty()) continue;
    const auto text = text_of_line(line);
    lines.push_back(text ? std::string(*text) : "invalid: " + line);
  }
  return lines;
}

std::pair<std::string, std::string> ScriptedAgent::wait_request(proc::Reactor& reactor) {
  std::vector<std::string> lines;
  reactor.run_until(
      [&] {
        lines = heard();
        return !lines.empty();
      },
      base::Deadline::in(std::chrono::seconds(20)), std::chrono::milliseconds(5));
  if (lines.empty() || lines.front().rfind("Q ", 0) != 0) {
    ADD_FAILURE() << "no request came";
    return {};
  }
  const std::string& line = lines.front();
  const std::size_t space = line.find(' ', 2);
  return {line.substr(2, space - 2), line.substr(space + 1)};
}

}  // namespace migsoak::guest
