#include "store/run_end.h"

namespace migsoak::store {

base::Result<record::RunEnd> run_end(const Store& store, const Store::Summary& summary) {
  record::RunEnd end;
  end.planned = store.manifest().planned_count();
  end.finished = summary.iterations_finished;
  end.reason = summary.end_reason;
  if (end.finished >= end.planned) return end;
  MIGSOAK_TRY(store.for_each_event(record::event_kind::kLineageGivenUp,
                                   [&end](std::int64_t, const record::Event& event) -> base::Result<void> {
                                     end.left_out += base::json_get<std::int64_t>(event.detail, "left_out", 0);
                                     return {};
                                   }));
  return end;
}

}  // namespace migsoak::store
