// The guest's init: boots, says hello, beats, answers. Never ends. What goes over the channel is in PROTOCOL.md.
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include <algorithm>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "arguments.h"
#include "boot.h"
#include "commands.h"
#include "kernel_events.h"
#include "wire.h"

namespace migsoak::agent {

namespace {

constexpr std::size_t kAnswersKept = 16;
constexpr std::size_t kArgumentsMax = 32;

// The last answers, by request. Shared by the main thread and those of commands that run beside others.
class AnswerBook {
 public:
  explicit AnswerBook(Wire& wire) : wire_(wire) {}

  // Notes a request; false when it is known: then its answer, if there is one yet, is sent again.
  bool begin(const std::string& id) {
    std::unique_lock lock(mutex_);
    const auto known = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& it) { return it.id == id; });
    if (known != entries_.end()) {
      const std::string answer = known->answer;
      lock.unlock();
      if (!answer.empty()) wire_.send_answer(id, answer);
      return false;
    }
    const auto done =
        std::find_if(entries_.begin(), entries_.end(), [](const Entry& it) { return !it.answer.empty(); });
    if (entries_.size() >= kAnswersKept && done != entries_.end()) entries_.erase(done);
    entries_.push_back({id, ""});
    return true;
  }

  void finish(const std::string& id, const std::string& answer) {
    {
      const std::lock_guard lock(mutex_);
      const auto known = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& it) { return it.id == id; });
      if (known != entries_.end()) known->answer = answer;
    }
    wire_.send_answer(id, answer);
  }

 private:
  struct Entry {
    std::string id;
    std::string answer;  // empty while the command runs
  };
  Wire& wire_;
  std::mutex mutex_;
  std::deque<Entry> entries_;
};

Arguments arguments_of(const std::vector<std::string>& words) {
  Arguments arguments;
  for (std::size_t i = 3; i < words.size(); ++i) {
    const std::size_t equals = words[i].find('=');
    if (equals != std::string::npos) arguments[words[i].substr(0, equals)] = words[i].substr(equals + 1);
  }
  return arguments;
}

// "Q <id> <command> key=value ...": answers every repetition of an id with the same text, and runs it once.
[[noreturn]] void answer_forever(Wire& wire, Commands& commands) {
  AnswerBook answers(wire);
  for (;;) {
    const std::vector<std::string> words = words_of(wire.read_line());
    if (words.size() < 3 || words.size() > kArgumentsMax || words[0] != "Q" || words[1].size() > 16) continue;
    const std::string& id = words[1];
    if (!answers.begin(id)) continue;
    if (runs_beside_others(words[2])) {
      std::thread([&answers, &commands, id, name = words[2], arguments = arguments_of(words)] {
        answers.finish(id, commands.run(name, arguments));
      }).detach();
    } else {
      answers.finish(id, commands.run(words[2], arguments_of(words)));
    }
  }
}

}  // namespace

int run() {
  mount_file_systems();
  signal(SIGCHLD, SIG_IGN);  // init reaps: with SIG_IGN the kernel does it (wait(2))
  load_modules();
  start_kernel_events();
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
