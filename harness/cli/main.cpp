#include <fmt/format.h>
#include <signal.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <vector>

#include "base/log.h"
#include "base/text.h"
#include "cli/commands.h"
#include "proc/containment.h"

namespace migsoak::cli {

int complain(const base::Error& error) {
  fmt::print(stderr, "migsoak: {}\n", error.describe());
  return error.kind == base::ErrorKind::bad_input ? kExitBadInput : kExitUnknown;
}

int status_of(record::Verdict verdict) {
  switch (verdict) {
    case record::Verdict::pass: return kExitPass;
    case record::Verdict::fail: return kExitFindings;
    case record::Verdict::unknown: return kExitUnknown;
  }
  return kExitUnknown;
}

void print(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  if (text.empty() || text.back() != '\n') std::fputc('\n', stdout);
  std::fflush(stdout);
}

base::Result<void> write_file(const char* flag, const std::string& path, const std::string& text) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out << text;
  out.flush();
  if (out) return {};
  return base::fail(base::ErrorKind::bad_input,
                    fmt::format("{} {}: can't write this file", flag, base::printable(path)));
}

namespace {

Session* session_of_signals = nullptr;

void on_stop_signal(int) {
  session_of_signals->stop.raise();
}

void install_signals(Session& session) {
  session_of_signals = &session;
  struct sigaction action {};
  action.sa_handler = on_stop_signal;
  sigemptyset(&action.sa_mask);
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) sigaction(number, &action, nullptr);
  // A reader that went away must show as an error of write(), not as our death.
  signal(SIGPIPE, SIG_IGN);
}

int run_main(int argc, char** argv) {
  Session session;
  install_signals(session);
  CLI::App app{
      "migsoak soak-tests QEMU live migration: thousands of migrations of one guest, everything recorded, leaks "
      "proven early."};
  app.require_subcommand(1);
  app.set_version_flag("--version", MIGSOAK_VERSION);
  add_run(app, session);
  add_findings(app, session);
  add_judge(app, session);
  add_plan(app, session);
  add_replay(app, session);
  add_report(app, session);
  add_gate(app, session);
  add_list(app, session);
  add_compat(app, session);
  add_doctor(app, session);
  add_fleet(app, session);
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands([](CLI::App*) { return true; }))
    names.push_back(command->get_name());
  if (argc > 1 && argv[1][0] != '-' && std::find(names.begin(), names.end(), argv[1]) == names.end()) {
    const std::string near = base::nearest_name(argv[1], names);
    return complain(
        {base::ErrorKind::bad_input,
         fmt::format("no subcommand '{}'{}; there are: {}", base::printable(argv[1]),
                     near.empty() ? "" : fmt::format(", did you mean '{}'?", near), base::join(names, ", ")),
         {}});
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int status = app.exit(error);
    return status == 0 ? kExitPass : kExitBadInput;
  }
  return session.exit_status;
}

}  // namespace
}  // namespace migsoak::cli

int main(int argc, char** argv) {
  migsoak::base::init_log();
  // The hidden subcommand that containment starts (proc/containment.h): not for people, so not in --help.
  if (argc > 1 && std::string(argv[1]) == "guardian") {
    return migsoak::proc::guardian_main(std::vector<std::string>(argv + 1, argv + argc));
  }
  return migsoak::cli::run_main(argc, argv);
}
