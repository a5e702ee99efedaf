// The guest's init: boots, says hello, beats, answers. Never ends. What goes over the channel is in PROTOCOL.md.
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include <algorithm>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "boot.h"
#include "commands.h"
#include "wire.h"

namespace migsoak::agent {

namespace {

constexpr std::size_t kAnswersKept = 4;
constexpr std::size_t kArgumentsMax = 32;

std::vector<std::string> words_of(const std::string& line) {
  std::vector<std::string> words;
  std::size_t start = 0;
  while (start < line.size()) {
    const std::size_t end = std::min(line.find(' ', start), line.size());
    if (end > start) words.push_back(line.substr(start, end - start));
    start = end + 1;
  }
  return words;
}

// "Q <id> <command> key=value ...": answers every repetition of an id with the same text, and runs it once.
[[noreturn]] void answer_forever(Wire& wire, Commands& commands) {
  std::deque<std::pair<std::string, std::string>> answers;
  for (;;) {
    const std::vector<std::string> words = words_of(wire.read_line());
    if (words.size() < 3 || words.size() > kArgumentsMax || words[0] != "Q" || words[1].size() > 16) continue;
    const std::string& id = words[1];
    auto known = std::find_if(answers.begin(), answers.end(), [&](const auto& answer) { return answer.first == id; });
    if (known == answers.end()) {
      Arguments arguments;
      for (std::size_t i = 3; i < words.size(); ++i) {
        const std::size_t equals = words[i].find('=');
        if (equals != std::string::npos) arguments[words[i].substr(0, equals)] = words[i].substr(equals + 1);
      }
      if (answers.size() == kAnswersKept) answers.pop_front();
      answers.emplace_back(id, commands.run(words[2], arguments));
      known = std::prev(answers.end());
    }
    wire.send_answer(id, known->second);
  }
}

}  // namespace

int run() {
  mount_file_systems();
  signal(SIGCHLD, SIG_IGN);  // init reaps: with SIG_IGN the kernel does it (wait(2))
  load_modules();
  Wire wire;
  if (!wire.open("/dev/ttyS1")) fatal("/dev/ttyS1: %s", strerror(errno));
  Commands commands(wire);
  say("ready");
  wire.send("B");  // booted: the host asks for the rest
  set_heartbeat_interval(wire, std::max(command_line_number("migsoak.heartbeat_ms", 10), 1L) * 1'000'000);
  answer_forever(wire, commands);
}

}  // namespace migsoak::agent

int main() {
  return migsoak::agent::run();
}
