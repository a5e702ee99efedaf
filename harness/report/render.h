// The model as text, JUnit XML, Markdown and OpenMetrics. Renderers know no database; they escape what they show.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include "report/model.h"

namespace migsoak::report {

// See report.h.
std::string render_text(const ReportModel& model, int width_columns, bool colour);
std::string render_markdown(const ReportModel& model);
std::string render_metrics(const ReportModel& model);
base::Result<void> render_junit(const ReportModel& model, const std::vector<std::string>& detectors, std::ostream& out);

}  // namespace migsoak::report
