// The model as text and as JUnit XML. Renderers know no database; they escape what they show.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include "report/model.h"

namespace migsoak::report {

// See report.h.
std::string render_text(const ReportModel& model, int width_columns, bool colour);
base::Result<void> render_junit(const ReportModel& model, const std::vector<std::string>& detectors, std::ostream& out);

}  // namespace migsoak::report
