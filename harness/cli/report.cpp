#include "report/report.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <memory>
#include <vector>

#include "cli/commands.h"
#include "detect/judge.h"

namespace migsoak::cli {

namespace {

int terminal_width() {
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 40) return std::min<int>(size.ws_col, 160);
  return 100;
}

base::Result<void> write_junit(const store::Store& store, const std::string& path) {
  std::vector<std::string> names;
  for (const detect::DetectorInfo& detector : detect::detectors()) names.push_back(detector.name);
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  if (out) MIGSOAK_TRY(report::junit(store, names, out));
  out.flush();
  if (!out) return base::fail(base::ErrorKind::bad_input, fmt::format("--junit {}: can't write this file", path));
  return {};
}

}  // namespace

void add_report(CLI::App& app, Session& session) {
  struct Arguments {
    std::string db, junit, markdown, metrics;
    bool text = false;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("report", "One screen: what broke, since when, how sure, how to see it again");
  command->add_option("db", arguments->db, "Database of a run")->required();
  command->add_flag("--text", arguments->text, "The report as text (default unless a file is asked for)");
  command->add_option("--junit", arguments->junit, "Write JUnit XML to this file");
  command->add_option("--markdown", arguments->markdown, "Write a summary as Markdown to this file");
  command->add_option("--metrics", arguments->metrics, "Write OpenMetrics text to this file");
  command->callback([arguments, &session] {
    const auto run = [&]() -> base::Result<void> {
      MIGSOAK_ASSIGN(const auto store, store::Store::open(arguments->db));
      if (!arguments->junit.empty()) MIGSOAK_TRY(write_junit(*store, arguments->junit));
      const auto& [db, junit, markdown, metrics, text_asked] = *arguments;
      if (!markdown.empty()) {
        MIGSOAK_ASSIGN(const std::string page, report::markdown(*store));
        MIGSOAK_TRY(write_file("--markdown", markdown, page));
      }
      if (!metrics.empty()) {
        MIGSOAK_ASSIGN(const std::string families, report::metrics(*store));
        MIGSOAK_TRY(write_file("--metrics", metrics, families));
      }
      if (text_asked || (junit.empty() && markdown.empty() && metrics.empty())) {
        const bool colour = isatty(STDOUT_FILENO) == 1 && std::getenv("NO_COLOR") == nullptr;
        MIGSOAK_ASSIGN(const std::string text, report::text(*store, terminal_width(), colour));
        print(text);
      }
      return {};
    };
    const auto done = run();
    session.exit_status = done ? kExitPass : complain(done.error());
  });
}

}  // namespace migsoak::cli
