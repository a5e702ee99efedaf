// The walk over all observations that `judge` and a resumed run make: block by block, so that `visit` runs without the
// lock and a long run need not fit into memory. Documents are moved into an observation and back, never copied: from
// one iteration to the next they are the same.
#include <limits>

#include "base/text.h"
#include "store/impl.h"

namespace migsoak::store {

namespace {
constexpr std::size_t kBlockIterations = 128;
constexpr std::size_t kDocumentSetsMax = 16;  // as many as take turns: the ways of a ping-pong, with and without tree
}  // namespace

base::Result<void> Store::for_each_observation(
    const std::function<base::Result<void>(const record::Observation&)>& visit) const {
  constexpr auto kEnd = std::numeric_limits<std::int64_t>::max();
  Reader::Block block;
  Reader::Carry carry;
  std::unordered_map<std::int64_t, Reader::DocumentSet> documents;
  for (std::int64_t next = 0;;) {
    MIGSOAK_TRY(impl_->guarded([&] {
      SQLite::Transaction transaction(*impl_->connection.db);
      base::Result<void> loaded = impl_->reader.load_block(next, kEnd, kBlockIterations, carry, block);
      if (loaded) transaction.commit();
      return loaded;
    }));
    if (block.size == 0) return {};
    for (std::size_t i = 0; i < block.size; ++i) {
      Reader::Loaded& loaded = block.rows[i];
      if (loaded.document_set == 0) {
        MIGSOAK_TRY(visit(loaded.observation));
        continue;
      }
      auto kept = documents.find(loaded.document_set);
      if (kept == documents.end()) {
        if (documents.size() >= kDocumentSetsMax) documents.clear();
        MIGSOAK_ASSIGN(auto fresh, impl_->guarded([&] { return impl_->reader.document_set(loaded.document_set); }));
        kept = documents.emplace(loaded.document_set, std::move(fresh)).first;
      }
      MIGSOAK_TRY(impl_->reader.name_processes(loaded, kept->second));
      loaded.observation.documents.swap(kept->second.documents);
      const base::Result<void> visited = visit(loaded.observation);
      loaded.observation.documents.swap(kept->second.documents);
      MIGSOAK_TRY(visited);
    }
    next = block.rows[block.size - 1].observation.iteration + 1;
  }
}

base::Result<record::Observation> Store::observation(std::int64_t iteration) const {
  return impl_->guarded([&]() -> base::Result<record::Observation> {
    SQLite::Transaction transaction(*impl_->connection.db);
    Reader::Block block;
    Reader::Carry carry;
    MIGSOAK_TRY(impl_->reader.load_block(iteration, iteration, 1, carry, block));
    if (block.size == 0) {
      return base::fail(base::ErrorKind::bad_input,
                        "no iteration " + std::to_string(iteration) + " in " + base::printable(path()));
    }
    Reader::Loaded& loaded = block.rows.front();
    if (loaded.document_set != 0) {
      MIGSOAK_ASSIGN(Reader::DocumentSet set, impl_->reader.document_set(loaded.document_set));
      MIGSOAK_TRY(impl_->reader.name_processes(loaded, set));
      loaded.observation.documents = std::move(set.documents);
    }
    transaction.commit();
    return std::move(loaded.observation);
  });
}

}  // namespace migsoak::store
