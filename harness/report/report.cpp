#include "report/report.h"

#include "report/model_build.h"
#include "report/render.h"

namespace migsoak::report {

base::Result<std::string> text(const store::Store& store, int width_columns, bool colour) {
  MIGSOAK_ASSIGN(const ReportModel model, model_of(store, Extent::page));
  return render_text(model, width_columns, colour);
}

base::Result<std::string> markdown(const store::Store& store) {
  MIGSOAK_ASSIGN(const ReportModel model, model_of(store, Extent::page));
  return render_markdown(model);
}

base::Result<std::string> metrics(const store::Store& store) {
  MIGSOAK_ASSIGN(const ReportModel model, model_of(store, Extent::page));
  return render_metrics(model);
}

base::Result<void> junit(const store::Store& store, const std::vector<std::string>& detectors, std::ostream& out) {
  MIGSOAK_ASSIGN(const ReportModel model, model_of(store, Extent::cases));
  return render_junit(model, detectors, out);
}

}  // namespace migsoak::report
