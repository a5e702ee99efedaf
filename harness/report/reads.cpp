#include "report/reads.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "record/reads.h"
#include "store/store.h"

namespace migsoak::report {

base::Result<std::vector<ReadCount>> reads_of(const store::Store& store) {
  std::vector<ReadCount> counts;
  std::vector<std::string> metrics;
  for (const record::ReadInfo& read : record::reads()) metrics.push_back(record::read_metric(read.name));
  MIGSOAK_ASSIGN(const std::vector<store::Store::SeriesTally> tallies, store.series_tallies("host", metrics));
  bool missed = false;
  for (std::size_t i = 0; i < tallies.size(); ++i) {
    const record::ReadInfo& read = record::reads()[i];
    const store::Store::SeriesTally& tally = tallies[i];
    if (tally.iterations == 0) continue;
    counts.push_back({read.name, read.words, read.detectors, tally.iterations, tally.not_zero, -1, ""});
    missed = missed || counts.back().missed() > 0;
  }
  if (!missed) return counts;
  MIGSOAK_TRY(store.for_each_event(
      record::event_kind::kReadFailed, [&](std::int64_t iteration, const record::Event& event) -> base::Result<void> {
        const std::string name = base::json_get<std::string>(event.detail, "read", "");
        for (ReadCount& count : counts) {
          if (count.name != name || count.first_missed >= 0) continue;
          count.first_missed = iteration;
          count.why =
              base::printable(event.subject + ": " + base::json_get<std::string>(event.detail, "why", event.text), 300);
        }
        return {};
      }));
  return counts;
}

std::string missed_text(const ReadCount& count) {
  std::string text = fmt::format("{} in {} of {} iterations", base::printable(count.words), count.done, count.wanted);
  if (count.first_missed >= 0)
    text += fmt::format(", first missed in {}: {}", count.first_missed, base::printable(count.why));
  return text;
}

// What is whole shares a line with what is whole as often.
void print_reads(Page& page, const std::vector<ReadCount>& counts) {
  bool first = true;
  const auto line = [&](const std::string& text) {
    page.labelled(first ? "read" : "", text);
    first = false;
  };
  for (const ReadCount& count : counts) {
    if (count.missed() > 0) line(missed_text(count));
  }
  std::vector<std::int64_t> wanted;
  for (const ReadCount& count : counts) {
    if (count.missed() == 0 && std::find(wanted.begin(), wanted.end(), count.wanted) == wanted.end()) {
      wanted.push_back(count.wanted);
    }
  }
  for (const std::int64_t iterations : wanted) {
    std::vector<std::string> words;
    for (const ReadCount& count : counts) {
      if (count.missed() == 0 && count.wanted == iterations) words.push_back(base::printable(count.words));
    }
    line(fmt::format("{} in {} of {} iterations", base::join(words, ", "), iterations, iterations));
  }
}

base::Json to_json(const std::vector<ReadCount>& counts) {
  base::Json json = base::Json::object();
  for (const ReadCount& count : counts) {
    base::Json one = {{"wanted", count.wanted}, {"done", count.done}};
    if (count.first_missed >= 0) {
      one["first_missed"] = count.first_missed;
      one["why"] = count.why;
    }
    json[count.name] = std::move(one);
  }
  return json;
}

}  // namespace migsoak::report
