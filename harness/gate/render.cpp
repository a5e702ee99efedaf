// A decision as text, as JSON and as Markdown. What a Line holds is printable already.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "gate/gate.h"
#include "report/markdown.h"

namespace migsoak::gate {

namespace {

using record::Verdict;
using report::markdown_text;

std::string upper_case(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; });
  return text;
}

std::string counts_of(const Decision& decision) {
  std::map<Verdict, int> counts;
  for (const Line& line : decision.lines) ++counts[line.verdict];
  return fmt::format("{} fail, {} unknown, {} pass", counts[Verdict::fail], counts[Verdict::unknown],
                     counts[Verdict::pass]);
}

}  // namespace

std::string text_of(const Decision& decision) {
  std::string text = fmt::format("{}  {}  (run {}): {}\n", upper_case(record::to_string(decision.verdict)),
                                 decision.scenario, decision.run, counts_of(decision));
  if (!decision.baseline.empty()) text += "baseline  " + decision.baseline + "\n";
  std::size_t width = 0;
  for (const Line& line : decision.lines) width = std::max(width, line.state.size());
  for (const Line& line : decision.lines) {
    text += fmt::format("{:<7}  {:<7}  {:<{}}  {}: {}\n", upper_case(record::to_string(line.verdict)), line.about,
                        line.state, width, line.name, line.reason);
  }
  return text;
}

base::Json to_json(const Decision& decision) {
  base::Json lines = base::Json::array();
  for (const Line& line : decision.lines) {
    lines.push_back({{"about", line.about},
                     {"name", line.name},
                     {"state", line.state},
                     {"verdict", record::to_string(line.verdict)},
                     {"reason", line.reason},
                     {"figures", line.figures}});
  }
  base::Json json = {{"schema", kJsonSchema},
                     {"run", decision.run},
                     {"scenario", decision.scenario},
                     {"database", decision.database},
                     {"verdict", record::to_string(decision.verdict)},
                     {"lines", lines}};
  if (!decision.baseline.empty()) json["baseline"] = decision.baseline;
  return json;
}

std::string markdown_of(const Decision& decision) {
  std::string text =
      fmt::format("## migsoak gate: {}\n\nScenario {}, run {}: {}\n", record::to_string(decision.verdict),
                  markdown_text(decision.scenario), markdown_text(decision.run), counts_of(decision));
  if (!decision.baseline.empty()) text += fmt::format("\nBaseline: {}\n", markdown_text(decision.baseline));
  if (decision.lines.empty()) return text;
  text += "\n| verdict | about | state | name | reason |\n|---|---|---|---|---|\n";
  for (const Line& line : decision.lines) {
    text += fmt::format("| {} | {} | {} | {} | {} |\n", record::to_string(line.verdict), line.about, line.state,
                        markdown_text(line.name), markdown_text(line.reason));
  }
  return text;
}

}  // namespace migsoak::gate
