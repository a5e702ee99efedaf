// How far the run of a database came, out of its record.
#pragma once

#include "record/run_end.h"
#include "store/store.h"

namespace migsoak::store {

base::Result<record::RunEnd> run_end(const Store& store, const Store::Summary& summary);

}  // namespace migsoak::store
