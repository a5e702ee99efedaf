#include "proc/roles.h"

#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <string>

#include "proc/child_process.h"
#include "proc/run_dir.h"

namespace migsoak::proc {

namespace {

int report_fds() {
  DIR* directory = ::opendir("/proc/self/fd");
  if (directory == nullptr) return 1;
  while (const dirent* entry = ::readdir(directory)) {
    if (entry->d_name[0] == '.' || std::stoi(entry->d_name) == ::dirfd(directory)) continue;
    std::printf("%s\n", entry->d_name);
  }
  ::closedir(directory);
  return 0;
}

void wait_for_ever() {
  for (;;) ::poll(nullptr, 0, 1000);
}

// Leaves every group, session and parent that could be used to find it.
int leave_stray() {
  const pid_t between = ::fork();
  if (between == 0) {
    ::setsid();
    if (::fork() == 0) {
      ::signal(SIGTERM, SIG_IGN);
      ::signal(SIGHUP, SIG_IGN);
      std::printf("stray\n");
      std::fflush(stdout);
      wait_for_ever();
    }
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(between, &status, 0);
  wait_for_ever();
  return 0;
}

int be_harness(const std::string& report_file) {
  const auto run_dir = RunDir::create("harness-role");
  if (!run_dir) return 3;
  Reactor reactor;
  auto containment = Containment::start({"harness-role-" + std::to_string(::getpid()), (*run_dir)->path(), ""});
  if (!containment) return 4;
  SpawnSpec spec;
  spec.name = "parent-of-stray";
  spec.argv = {"/proc/self/exe", "role", "stray"};
  auto child = ChildProcess::spawn(reactor, **containment, spec);
  if (!child) return 5;
  // Child and stray are there; the process between them has ended.
  const auto settled = [&] { return (*containment)->processes().size() == 2 && !(*containment)->reparented().empty(); };
  if (reactor.run_until(settled, base::Deadline::in(std::chrono::seconds(30))) != Wait::ready) return 6;
  {
    std::ofstream report(report_file + ".part");
    report << to_string((*containment)->level()) << "\n" << (*run_dir)->path() << "\n";
    report << (*containment)->guardian_pid() << "\n";
    for (const pid_t pid : (*containment)->processes()) report << pid << "\n";
  }
  std::rename((report_file + ".part").c_str(), report_file.c_str());
  wait_for_ever();
  return 0;
}

}  // namespace

int play_role(const std::vector<std::string>& arguments) {
  if (arguments.empty()) return 2;
  if (arguments[0] == "report-fds") return report_fds();
  if (arguments[0] == "stray") return leave_stray();
  if (arguments[0] == "harness" && arguments.size() == 2) return be_harness(arguments[1]);
  return 2;
}

}  // namespace migsoak::proc
