// Report: from the database alone.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "store/store.h"

namespace migsoak::report {

// One screen: verdict, what broke, since when, how sure, evidence, replay command; sparklines; exclusions.
// width_columns: of the terminal. colour: ANSI.
base::Result<std::string> text(const store::Store& store, int width_columns, bool colour);
// JUnit XML: one testcase per detector, one for each iteration that did not pass and one for all that did, and in a run
// with a version matrix one per ordered pair. Written as it is read, so that the length of a run costs no memory.
// `detectors`: the names of those that judged; the ones without findings are listed as passed. Detectors with findings
// are listed in any case.
base::Result<void> junit(const store::Store& store, const std::vector<std::string>& detectors, std::ostream& out);
// Markdown for a merge request or a step's summary; OpenMetrics text. Both are bounded.
base::Result<std::string> markdown(const store::Store& store);
base::Result<std::string> metrics(const store::Store& store);
// The object of `migsoak findings DB --json` (design.md).
base::Result<base::Json> findings_json(const store::Store& store);
// The same for people.
base::Result<std::string> findings_text(const store::Store& store);

}  // namespace migsoak::report
