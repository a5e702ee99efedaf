// The subcommands: one file each. Each adds itself to the application, with what is to be run.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

#include "base/result.h"
#include "proc/reactor.h"
#include "record/finding.h"

namespace migsoak::cli {

// What a subcommand needs from main(); outlives all of them.
struct Session {
  proc::StopRequest stop;  // raised by SIGINT and SIGTERM
  int exit_status = 0;     // set by the subcommand that ran
};

// 0 pass · 1 finding of severity fail · 2 bad input · 3 unknown or harness failure · 130 interrupted
inline constexpr int kExitPass = 0, kExitFindings = 1, kExitBadInput = 2, kExitUnknown = 3;

// Prints "migsoak: <message>" on stderr; bad input gives 2, everything else 3.
int complain(const base::Error& error);
int status_of(record::Verdict verdict);
// Writes to stdout; a closed pipe is no error worth a message.
void print(const std::string& text);
// The file that `flag` names, new or replaced. kind bad_input: it can't be written.
base::Result<void> write_file(const char* flag, const std::string& path, const std::string& text);

void add_run(CLI::App& app, Session& session);
void add_findings(CLI::App& app, Session& session);
void add_judge(CLI::App& app, Session& session);
void add_plan(CLI::App& app, Session& session);
void add_replay(CLI::App& app, Session& session);
void add_report(CLI::App& app, Session& session);
void add_gate(CLI::App& app, Session& session);
void add_list(CLI::App& app, Session& session);
void add_compat(CLI::App& app, Session& session);
void add_doctor(CLI::App& app, Session& session);
void add_fleet(CLI::App& app, Session& session);

}  // namespace migsoak::cli
