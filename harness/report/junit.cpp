// JUnit XML, as Jenkins and GitLab read it (schema: https://github.com/testmoapp/junitxml).
#include <fmt/format.h>

#include <algorithm>
#include <boost/property_tree/ptree.hpp>
#include <boost/property_tree/xml_parser.hpp>
#include <map>
#include <ostream>
#include <set>
#include <unordered_map>

#include "base/text.h"
#include "report/figures.h"
#include "report/render.h"

namespace migsoak::report {

namespace {

using Tree = boost::property_tree::ptree;

// The library escapes markup; characters that XML 1.0 has no way to carry (section 2.2) are for us to keep out.
std::string xml_text(std::string_view untrusted, std::size_t bytes_max = 1000) {
  std::string text = base::printable(untrusted, bytes_max);
  for (const std::string_view forbidden : {"\xef\xbf\xbe", "\xef\xbf\xbf"}) {
    for (std::size_t at = text.find(forbidden); at != std::string::npos; at = text.find(forbidden)) {
      text.replace(at, forbidden.size(), "?");
    }
  }
  return text;
}

struct Case {
  std::string suite, name;
  double seconds = 0;
  std::string outcome;  // "", "failure", "error", "skipped"
  std::string type, message, body;
  std::string output;
};

struct Counts {
  std::int64_t tests = 0, failures = 0, errors = 0, skipped = 0;
  double seconds = 0;
  void add(const Case& one) {
    ++tests;
    failures += one.outcome == "failure" ? 1 : 0;
    errors += one.outcome == "error" ? 1 : 0;
    skipped += one.outcome == "skipped" ? 1 : 0;
    seconds += one.seconds;
  }
  void add(const Counts& other) {
    tests += other.tests;
    failures += other.failures;
    errors += other.errors;
    skipped += other.skipped;
    seconds += other.seconds;
  }
};

struct Suite {
  std::string name;
  std::vector<Case> cases;
};

Tree to_tree(const Case& one) {
  Tree tree;
  tree.put("<xmlattr>.classname", one.suite);
  tree.put("<xmlattr>.name", one.name);
  tree.put("<xmlattr>.time", fmt::format("{:.3f}", one.seconds));
  if (!one.outcome.empty()) {
    Tree& outcome = tree.add(one.outcome, one.body);
    outcome.put("<xmlattr>.message", one.message);
    if (!one.type.empty()) outcome.put("<xmlattr>.type", one.type);
  }
  if (!one.output.empty()) tree.add("system-out", one.output);
  return tree;
}

std::string attribute(const std::string& text) {
  return boost::property_tree::xml_parser::encode_char_entities(text);
}

std::string counts_text(const std::string& name, const Counts& counts) {
  return fmt::format(R"(name="{}" tests="{}" failures="{}" errors="{}" skipped="{}" time="{:.3f}")", attribute(name),
                     counts.tests, counts.failures, counts.errors, counts.skipped, counts.seconds);
}

void write_case(std::ostream& out, const Case& one) {
  boost::property_tree::xml_parser::write_xml_element(
      out, std::string("testcase"), to_tree(one), 2,
      boost::property_tree::xml_parser::xml_writer_settings<std::string>(' ', 1));
}

std::string describe(const ReportedFinding& one) {
  std::string text = xml_text(one.finding.title) + "\n";
  if (!one.course.empty()) text += xml_text(one.course) + "\n";
  text += "how sure: " + xml_text(one.confidence) + "\n";
  const std::string evidence = evidence_text(one.evidence, Evidence::full);
  if (!evidence.empty()) text += "evidence: " + xml_text(evidence, 2000) + "\n";
  if (!one.known.empty()) text += xml_text(one.known, 2000) + "\n";
  if (!one.finding.replay.empty()) text += "replay: " + xml_text(one.finding.replay, 4096) + "\n";
  return text;
}

Suite detector_suite(const std::string& suite_name, const std::vector<ReportedFinding>& findings,
                     const std::vector<std::string>& detectors, const std::vector<ReadCount>& reads) {
  std::set<std::string> names(detectors.begin(), detectors.end());
  for (const ReportedFinding& reported : findings) names.insert(reported.finding.detector);
  Suite suite{suite_name, {}};
  for (const std::string& name : names) {
    Case one{suite_name, xml_text(name), 0, "", "", "", "", ""};
    for (const ReportedFinding& reported : findings) {
      const record::Finding& finding = reported.finding;
      if (finding.detector != name) continue;
      if (finding.severity == record::Severity::fail) {
        one.outcome = "failure";
        one.type = xml_text(finding.detector);
        if (one.message.empty()) one.message = xml_text(finding.title);
        one.body += (one.body.empty() ? "" : "\n") + describe(reported);
      } else {
        one.output += "warning: " + describe(reported);
      }
    }
    // Nothing was found, of what could be read.
    for (const ReadCount& count : reads) {
      const std::vector<std::string> users = base::split(count.detectors, ' ');
      const bool uses = std::find(users.begin(), users.end(), name) != users.end();
      if (!one.outcome.empty() || !uses || count.missed() == 0) continue;
      one.outcome = "error";
      one.type = "unknown";
      one.message = xml_text(missed_text(count));
    }
    suite.cases.push_back(std::move(one));
  }
  return suite;
}

Case iteration_case(const std::string& suite_name, const IterationCase& row,
                    const std::vector<const ReportedFinding*>& findings) {
  Case one{suite_name,
           xml_text(fmt::format("iteration {} {} to {}, {} over {}", row.iteration, row.source, row.destination,
                                row.mode, row.transport)),
           row.duration_ms / 1000.0,
           "",
           "",
           "",
           "",
           ""};
  const std::string state = fmt::format("{} in phase {}", record::to_string(row.status), xml_text(row.phase, 60));
  if (row.status == record::IterationStatus::started) {
    one.outcome = "skipped";
    one.message = "begun and never finished";
  } else if (row.verdict == record::Verdict::fail) {
    one.outcome = "failure";
    one.type = findings.empty() ? record::to_string(row.status) : xml_text(findings.front()->finding.detector);
    one.message = findings.empty() ? state : xml_text(findings.front()->finding.title);
    for (const ReportedFinding* finding : findings) one.body += describe(*finding);
  } else if (row.verdict == record::Verdict::unknown) {
    one.outcome = "error";
    one.type = "unknown";
    one.message = state;
  }
  return one;
}

Case end_case(const std::string& suite_name, const Outcome& outcome) {
  Case one{suite_name, "the run came to its end", 0, "", "", "", "", ""};
  const std::string told = xml_text(outcome.found);
  if (outcome.verdict == record::Verdict::unknown || outcome.end.reason.empty()) {
    one.outcome = "error";
    one.type = "unknown";
    one.message = told;
  } else {
    one.output = xml_text(outcome.end.reason) + "\n" + told;
  }
  return one;
}

Case pair_case(const std::string& suite_name, const Matrix& matrix, const record::SideInfo& row,
               const record::SideInfo& column, const std::vector<ReportedFinding>& findings) {
  Case one;
  one.suite = suite_name;
  one.name = xml_text((matrix.by_boot ? "booted on " : "") + side_text(row) +
                      (matrix.by_boot ? ", to and fro with " : " to ") + side_text(column));
  const MatrixCell* cell = matrix.find(row.name, column.name);
  if (cell == nullptr || !cell->ran()) {
    one.outcome = "skipped";
    one.message = "not run";
    return one;
  }
  one.seconds = cell->seconds;
  one.output = xml_text(cell_text(*cell));
  for (const std::size_t i : cell->waives) one.output += "\nwaived: " + xml_text(waive_text(matrix.waives[i]));
  std::set<std::size_t> why = cell->findings;
  why.insert(cell->also.begin(), cell->also.end());
  if (cell->fails()) {
    one.outcome = "failure";
    one.type = why.empty() ? "unexplained" : xml_text(findings[*why.begin()].finding.detector);
    one.message = why.empty() ? one.output : xml_text(findings[*why.begin()].finding.title);
    for (const std::size_t i : why) one.body += describe(findings[i]);
  } else if (cell->waived > 0) {
    one.outcome = "skipped";
    one.message = "waived";
  } else if (cell->unknown > 0) {
    one.outcome = "error";
    one.type = "unknown";
    one.message = one.output;
  }
  return one;
}

Suite pair_suite(const std::string& suite_name, const Matrix& matrix, const std::vector<ReportedFinding>& findings) {
  Suite suite{suite_name, {}};
  for (const record::SideInfo& row : matrix.sides) {
    for (const record::SideInfo& column : matrix.sides) {
      if (row.name == column.name && matrix.find(row.name, column.name) == nullptr) continue;
      suite.cases.push_back(pair_case(suite_name, matrix, row, column, findings));
    }
  }
  return suite;
}

// Of the iterations' suite. `clean` stands for all that passed; without output when none did.
Counts count_iterations(const std::vector<IterationTally>& tallies, Case& clean) {
  Counts counts;
  std::int64_t passed = 0, all = 0;
  for (const IterationTally& tally : tallies) {
    all += tally.count;
    const bool started = tally.status == record::IterationStatus::started;
    if (!started && tally.verdict == record::Verdict::pass) {
      passed += tally.count;
      clean.seconds += tally.duration_ms / 1000.0;
      continue;
    }
    counts.tests += tally.count;
    counts.seconds += tally.duration_ms / 1000.0;
    if (started) counts.skipped += tally.count;
    if (!started && tally.verdict == record::Verdict::fail) counts.failures += tally.count;
    if (!started && tally.verdict == record::Verdict::unknown) counts.errors += tally.count;
  }
  if (passed == 0) return counts;
  clean.output = fmt::format("{} of {} passed", passed, all);
  counts.add(clean);
  return counts;
}

void write_suite(std::ostream& out, const Suite& suite) {
  Counts counts;
  for (const Case& one : suite.cases) counts.add(one);
  out << " <testsuite " << counts_text(suite.name, counts) << ">\n";
  for (const Case& one : suite.cases) write_case(out, one);
  out << " </testsuite>\n";
}

// One after the other, so that the length of a run costs no memory.
base::Result<void> write_iterations(std::ostream& out, const ReportModel& model, const std::string& name,
                                    const Counts& counts, const Case& clean) {
  static const std::vector<const ReportedFinding*> kNone;
  std::unordered_map<std::int64_t, std::vector<const ReportedFinding*>> by_iteration;
  for (const ReportedFinding& one : model.findings) {
    const record::Finding& finding = one.finding;
    const auto iteration = finding.detected_iteration ? finding.detected_iteration : finding.first_iteration;
    if (iteration && finding.severity == record::Severity::fail) by_iteration[*iteration].push_back(&one);
  }
  out << " <testsuite " << counts_text(name, counts) << ">\n";
  if (!clean.output.empty()) write_case(out, clean);
  MIGSOAK_TRY(model.iterations->for_each_unclean([&](const IterationCase& row) {
    const auto found = by_iteration.find(row.iteration);
    write_case(out, iteration_case(name, row, found != by_iteration.end() ? found->second : kNone));
  }));
  out << " </testsuite>\n";
  return {};
}

}  // namespace

base::Result<void> render_junit(const ReportModel& model, const std::vector<std::string>& detectors,
                                std::ostream& out) {
  const std::string scenario = xml_text(model.run.scenario);
  std::vector<Suite> suites;
  suites.push_back({scenario + ".run", {end_case(scenario + ".run", model.outcome)}});
  suites.push_back(detector_suite(scenario + ".detectors", model.findings, detectors, model.reads));
  if (model.matrix) suites.push_back(pair_suite(scenario + ".pairs", *model.matrix, model.findings));
  const std::string iterations = scenario + ".iterations";
  Case clean{iterations, "iterations that passed", 0, "", "", "", "", ""};
  const Counts of_iterations = count_iterations(model.tallies, clean);
  Counts all = of_iterations;
  for (const Suite& suite : suites) {
    for (const Case& one : suite.cases) all.add(one);
  }
  try {
    out << "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<testsuites " << counts_text(scenario, all) << ">\n";
    for (const Suite& suite : suites) write_suite(out, suite);
    MIGSOAK_TRY(write_iterations(out, model, iterations, of_iterations, clean));
    out << "</testsuites>\n";
  } catch (const std::exception& exception) {
    return base::fail(base::ErrorKind::environment, fmt::format("cannot write JUnit XML: {}", exception.what()));
  }
  return {};
}

}  // namespace migsoak::report
