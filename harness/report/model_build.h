// For report and gate: the model of a database.
#pragma once

#include "report/model.h"
#include "store/store.h"

namespace migsoak::report {

// How much of the model is wanted: without what is below its line for cases or page, with the tallies and the matrix,
// or with everything that is on a page. A long run's series are walked over for a page only.
enum class Extent { findings, cases, page };
// The model's cursor reads the store, which must outlive it.
base::Result<ReportModel> model_of(const store::Store& store, Extent extent);

// `reads`: reads_of() the store.
base::Result<Outcome> outcome_of(const store::Store& store, const store::Store::Summary& summary,
                                 const std::vector<record::Finding>& findings, const std::vector<ReadCount>& reads);
// The store's findings with their replay commands filled in.
base::Result<std::vector<record::Finding>> findings_with_replay(const store::Store& store);

}  // namespace migsoak::report
