#include "proc/guardian.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>

#include "base/deadline.h"
#include "proc/containment.h"
#include "proc/look_until.h"
#include "proc/process_tree.h"
#include "proc/run_dir.h"

namespace migsoak::proc {

namespace {

struct GuardianArguments {
  int fd = -1;
  std::string run_dir;
  std::string run_id;
  bool in_namespace = false;
};

// Everything may die slowly (a core dump, a device in the kernel), but the guardian does not wait for ever.
constexpr auto kEndMax = std::chrono::seconds(20);

GuardianArguments parse(const std::vector<std::string>& arguments) {
  GuardianArguments parsed;
  for (std::size_t i = 0; i + 1 < arguments.size(); ++i) {
    if (arguments[i] == "--pipe-fd")
      parsed.fd = static_cast<int>(std::strtol(arguments[++i].c_str(), nullptr, 10));
    else if (arguments[i] == "--run-dir")
      parsed.run_dir = arguments[++i];
    else if (arguments[i] == "--run-id")
      parsed.run_id = arguments[++i];
    else if (arguments[i] == "--level")
      parsed.in_namespace = arguments[++i] == to_string(ContainmentLevel::pid_namespace);
  }
  return parsed;
}

// Whether something was left to kill.
bool kill_everything(const GuardianArguments& arguments) {
  // kill(2): -1 means every process that may be signalled; in a PID namespace only those inside, and never oneself.
  // Anywhere else it would be the whole machine.
  if (arguments.in_namespace && ::getpid() == 1) return ::kill(-1, SIGKILL) == 0;
  const std::vector<pid_t> marked = marked_processes(arguments.run_id);
  for (const pid_t pid : marked) ::kill(pid, SIGKILL);
  return !marked.empty();
}

// A zombie whose parent (outside) does not wait for it keeps kill(2) succeeding: what counts is who still runs.
bool anyone_runs(const GuardianArguments& arguments) {
  return arguments.in_namespace ? !living_in_our_namespace().empty() : !marked_processes(arguments.run_id).empty();
}

void kill_until_gone(const GuardianArguments& arguments) {
  int clean_rounds = 0;  // a process may fork while /proc is being read: believe only the second clean look
  const auto all_gone = [&] {
    clean_rounds = kill_everything(arguments) && anyone_runs(arguments) ? 0 : clean_rounds + 1;
    return clean_rounds >= 2;
  };
  look_until(all_gone, base::Deadline::in(kEndMax));
}

}  // namespace

int guardian_main(const std::vector<std::string>& arguments) {
  const GuardianArguments parsed = parse(arguments);
  if (parsed.fd < 0 || parsed.run_id.empty()) return 2;
  ::prctl(PR_SET_NAME, "migsoak-guard");
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGUSR1, SIGUSR2, SIGTSTP}) {
    ::signal(number, SIG_IGN);
  }
  // Ignoring SIGCHLD makes the kernel reap every child, adopted ones included (waitpid(2), NOTES).
  ::signal(SIGCHLD, SIG_IGN);
  if (::send(parsed.fd, &kGuardianReady, 1, MSG_NOSIGNAL) != 1) return 1;

  bool orderly = false;
  for (;;) {
    char command = 0;
    // No deadline: this is what it lives for. However the harness ends, the kernel closes its end of the socket.
    const ssize_t bytes = ::read(parsed.fd, &command, 1);
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes <= 0) break;
    if (command == kGuardianKill) kill_everything(parsed);
    if (command == kGuardianQuit) orderly = true;
  }
  kill_until_gone(parsed);
  if (!orderly && !parsed.run_dir.empty() && !remove_run_dir(parsed.run_dir)) return 1;
  return 0;
}

}  // namespace migsoak::proc
