// The report as Markdown: what a merge request or a step's summary shows (GitHub, GitLab).
#include "report/markdown.h"

#include <fmt/format.h>

#include "base/text.h"
#include "report/render.h"

namespace migsoak::report {

namespace {

constexpr std::size_t kFindingsMax = 50;
constexpr std::size_t kTextMax = 600;

std::string cell(const std::string& untrusted) {
  return markdown_text(base::printable(untrusted, kTextMax));
}

std::string findings_table(const ReportModel& model) {
  std::string text =
      "\n| severity | detector | process | kind | what | since | how sure |\n|---|---|---|---|---|---|---|\n";
  for (std::size_t i = 0; i < model.findings.size() && i < kFindingsMax; ++i) {
    const ReportedFinding& one = model.findings[i];
    const record::Finding& finding = one.finding;
    text += fmt::format("| {} | {} | {} | {} | {} | {} | {} |\n", record::to_string(finding.severity),
                        cell(finding.detector), cell(finding.process), cell(finding.kind), cell(finding.title),
                        cell(one.course), cell(one.confidence));
  }
  if (model.findings.size() > kFindingsMax) {
    text += fmt::format("\n… and {} more: `migsoak findings`\n", model.findings.size() - kFindingsMax);
  }
  return text;
}

// To see each again, as a reader can copy it: no Markdown is read in an indented block.
std::string replays(const ReportModel& model) {
  std::string text;
  for (std::size_t i = 0; i < model.findings.size() && i < kFindingsMax; ++i) {
    const std::string replay = base::printable(model.findings[i].finding.replay, kTextMax);
    if (!replay.empty() && text.find("    " + replay + "\n") == std::string::npos) text += "    " + replay + "\n";
  }
  return text.empty() ? "" : "\nTo see it again:\n\n" + text;
}

}  // namespace

std::string markdown_text(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const auto byte = static_cast<unsigned char>(c);
    const bool letter = byte >= 0x80 || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    const bool scheme = c == ':' && text.compare(i + 1, 1, "/") == 0;
    const bool host = c == '.' && out.ends_with("www");
    const bool harmless = letter || std::string_view(" ,.:;%/()=?+-").find(c) != std::string_view::npos;
    if (harmless && !scheme && !host) {
      out += c;
    } else {
      out += fmt::format("&#{};", static_cast<int>(byte));
    }
  }
  return out;
}

std::string render_markdown(const ReportModel& model) {
  std::string text =
      fmt::format("## migsoak: {}: {}\n\nRun {}, seed {}: {} of {} iterations, {}.\n",
                  record::to_string(model.outcome.verdict), cell(model.run.scenario), cell(model.run.name),
                  model.run.seed, model.outcome.end.finished, model.outcome.end.planned, cell(model.outcome.found));
  if (!model.findings.empty()) text += findings_table(model) + replays(model);
  std::string missed;
  for (const ReadCount& read : model.reads) {
    if (read.missed() > 0) missed += "- " + cell(missed_text(read)) + "\n";
  }
  if (!missed.empty()) text += "\nNot known, as it could not be read:\n\n" + missed;
  if (!model.downtime.empty()) {
    text += "\n| mode | migrations | downtime by QEMU, ms: p50 | p95 | max |\n|---|---|---|---|---|\n";
    for (const Downtime& one : model.downtime) {
      text += fmt::format("| {} | {} | {:.0f} | {:.0f} | {:.0f} |\n", cell(one.mode), one.qemu.count, one.qemu.p50,
                          one.qemu.p95, one.qemu.max);
    }
  }
  return text;
}

}  // namespace migsoak::report
