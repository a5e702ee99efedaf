// Internal to store: what a Store is made of.
#pragma once

#include <functional>
#include <utility>

#include "store/connection.h"
#include "store/reader.h"
#include "store/writer.h"

namespace migsoak::store {

struct Store::Impl {
  Connection connection;
  Writer writer{connection};
  Reader reader{connection};

  template <typename Work>
  auto guarded(Work&& work) -> decltype(work()) {
    return connection.guarded(std::forward<Work>(work));
  }
  const Statement& statement(const char* sql) const { return connection.statement(sql); }
  // guarded() in one write transaction; after an error the writer forgets what it knew of it.
  base::Result<void> in_transaction(const std::function<base::Result<void>()>& work);
};

}  // namespace migsoak::store
