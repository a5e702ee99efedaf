// ScriptedAgent: a QEMU's agent socket with a test behind it: says what it is told to, tells what it heard.
#pragma once

#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "proc/reactor.h"

namespace migsoak::guest {

class ScriptedAgent {
 public:
  explicit ScriptedAgent(const std::string& path);
  // After the channel has attached.
  void accept();
  void say(const std::string& bytes);      // raw
  void say_line(const std::string& text);  // framed
  // Texts of the valid lines heard so far; invalid ones come as "invalid: ...".
  std::vector<std::string> heard();
  // Runs the reactor until a request was heard, and returns its id and the words after it.
  std::pair<std::string, std::string> wait_request(proc::Reactor& reactor);
  void hang_up() { peer_.reset(); }

 private:
  base::UniqueFd listener_;
  base::UniqueFd peer_;
  std::string pending_;
};

}  // namespace migsoak::guest
