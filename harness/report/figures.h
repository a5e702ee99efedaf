// Internal to report: figures and words out of the database, shared by its outputs.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "record/finding.h"

namespace migsoak::report {

// "how sure": evidence.confidence where the detector says it, else how often it was seen.
std::string confidence_of(const record::Finding& finding);
// "since iteration 0, proven at 9 · 4 per iteration · exhausted at iteration 143"
std::string course_of(const record::Finding& finding);
struct EvidenceLine {
  std::string key, value;  // no key: evidence that is no object
  bool operator==(const EvidenceLine&) const = default;
};

// The evidence, what explains most first (evidence.def), without what is shown elsewhere. brief: for one line or two,
// so without what the title says and without long or raw values.
enum class Evidence { brief, full };
std::vector<EvidenceLine> evidence_lines(const record::Finding& finding, Evidence extent);
// Both at once.
std::string evidence_of(const record::Finding& finding, Evidence extent);
// "key=value, key=value", printable.
std::string evidence_text(const std::vector<EvidenceLine>& lines, Evidence extent);
// "known: …", of a defect of the builds that can explain the finding; empty when there is none.
std::string known_of(const record::Finding& finding);
// "key=value, key=value" of any object in the order of its keys, printable; at most bytes_max.
std::string flatten(const base::Json& object, std::size_t bytes_max);

// Nearest-rank percentiles, 0 < percent <= 100 and ascending, of values in any order; not-a-number is left out. 0 when
// there are none.
std::vector<double> percentiles(std::vector<double> values, const std::vector<double>& percents);

// U+2581..U+2588, at most `columns` of them: means of equal stretches, from the least value to the greatest.
std::string sparkline(const std::vector<double>& values, std::size_t columns);

// How many values lie in each of `stretches` equal stretches of a logarithmic scale from the least value to the
// greatest. Not-a-number is left out. Empty when all are equal.
std::vector<std::size_t> histogram_counts(const std::vector<double>& values, std::size_t stretches);
// The same blocks as a histogram; a single value still shows.
std::string histogram_text(const std::vector<std::size_t>& counts);

std::string bytes_text(double bytes);           // "46.9 GiB"
std::string number_text(double value);          // integers without a fraction, else three significant digits
std::size_t columns_of(std::string_view utf8);  // code points: what a terminal shows of the text used here
// Words broken at width; continuation lines are indented. Words longer than a line are cut.
std::string wrap(const std::string& text, int width_columns, int indent, int lines_max);

}  // namespace migsoak::report
