// The report as OpenMetrics text (OpenMetrics 1.0, sections "Text format" and "Metric types"): for GitLab's metrics
// reports and node_exporter's text files. Gauges all: a run is told once, when it has ended.
#include <fmt/format.h>

#include <utility>
#include <vector>

#include "base/text.h"
#include "report/render.h"

namespace migsoak::report {

namespace {

constexpr std::size_t kLabelMax = 200;
constexpr double kMsPerSecond = 1000;

// "\\", "\"" and a line feed are escaped, nothing else is ("Label values"); of printable text only the first two occur.
std::string label_text(const std::string& untrusted) {
  std::string out;
  for (const char c : base::printable(untrusted, kLabelMax)) {
    if (c == '\\' || c == '"') out += '\\';
    out += c;
  }
  return out;
}

using Labels = std::vector<std::pair<const char*, std::string>>;

class Text {
 public:
  // All points of a family follow it.
  void family(const char* name, const char* type, const char* help, const char* unit = nullptr) {
    name_ = name;
    out_ += fmt::format("# TYPE {} {}\n", name, type);
    if (unit != nullptr) out_ += fmt::format("# UNIT {} {}\n", name, unit);
    out_ += fmt::format("# HELP {} {}\n", name, help);
  }
  void point(const Labels& labels, double value, const char* suffix = "") {
    std::vector<std::string> words;
    for (const auto& [name, text] : labels) words.push_back(fmt::format("{}=\"{}\"", name, label_text(text)));
    out_ += fmt::format("{}{}{} {}\n", name_, suffix, words.empty() ? "" : "{" + base::join(words, ",") + "}", value);
  }
  std::string end() { return out_ + "# EOF\n"; }

 private:
  std::string name_, out_;
};

void add_distribution(Text& text, Labels labels, const Distribution& ms) {
  if (ms.count == 0) return;
  labels.emplace_back("of", "");
  for (const auto& [which, value] : {std::pair("p50", ms.p50), std::pair("p95", ms.p95), std::pair("max", ms.max)}) {
    labels.back().second = which;
    text.point(labels, value / kMsPerSecond);
  }
}

void add_run(Text& text, const ReportModel& model) {
  text.family("migsoak_run", "info", "The run that this is of.");
  text.point({{"run", model.run.name}, {"scenario", model.run.scenario}, {"migsoak", model.run.migsoak_version}}, 1,
             "_info");
  text.family("migsoak_verdict", "stateset", "Unknown is no pass.");
  for (const auto verdict : {record::Verdict::pass, record::Verdict::fail, record::Verdict::unknown}) {
    text.point({{"migsoak_verdict", record::to_string(verdict)}}, model.outcome.verdict == verdict ? 1 : 0);
  }
  text.family("migsoak_iterations_planned", "gauge", "Iterations that the run was to have.");
  text.point({}, static_cast<double>(model.outcome.end.planned));
  text.family("migsoak_iterations", "gauge", "Finished iterations by what became of them.");
  for (const auto& [status, count] : model.run.by_status) text.point({{"status", status}}, static_cast<double>(count));
}

void add_findings(Text& text, const ReportModel& model) {
  std::int64_t fails = 0, warnings = 0;
  for (const ReportedFinding& one : model.findings) {
    ++(one.finding.severity == record::Severity::fail ? fails : warnings);
  }
  text.family("migsoak_findings", "gauge", "Findings by severity.");
  text.point({{"severity", "fail"}}, static_cast<double>(fails));
  text.point({{"severity", "warn"}}, static_cast<double>(warnings));
  text.family("migsoak_finding_times", "gauge", "How often each finding was seen.");
  for (const ReportedFinding& one : model.findings) {
    const record::Finding& finding = one.finding;
    text.point({{"detector", finding.detector},
                {"process", finding.process},
                {"kind", finding.kind},
                {"severity", record::to_string(finding.severity)},
                {"fingerprint", finding.fingerprint}},
               static_cast<double>(finding.count));
  }
  text.family("migsoak_reads_missed", "gauge", "Iterations in which something that was to be read was not.");
  for (const ReadCount& read : model.reads) text.point({{"read", read.name}}, static_cast<double>(read.missed()));
}

}  // namespace

std::string render_metrics(const ReportModel& model) {
  Text text;
  add_run(text, model);
  add_findings(text, model);
  text.family("migsoak_downtime_seconds", "gauge",
              "Of completed migrations, as QEMU and as the guest's clients see it.", "seconds");
  for (const Downtime& one : model.downtime) {
    add_distribution(text, {{"mode", one.mode}, {"by", "qemu"}}, one.qemu);
    add_distribution(text, {{"mode", one.mode}, {"by", "clients"}}, one.clients);
  }
  text.family("migsoak_iteration_seconds", "gauge", "How long finished iterations took.", "seconds");
  add_distribution(text, {}, model.durations);
  text.family("migsoak_descriptors", "gauge", "Open descriptors at the first and at the last quiet point.");
  for (const Course& course : model.descriptors) {
    if (course.values.empty()) continue;
    for (const auto& [at, value] :
         {std::pair("first", course.values.front()), std::pair("last", course.values.back())}) {
      text.point({{"process", course.subject}, {"kind", course.metric}, {"at", at}}, value);
    }
  }
  text.family("migsoak_verified_bytes", "gauge", "Bytes of the guest that were verified.", "bytes");
  text.point({{"of", "ram"}}, model.verified.ram_bytes);
  text.point({{"of", "disk"}}, model.verified.disk_bytes);
  return text.end();
}

}  // namespace migsoak::report
