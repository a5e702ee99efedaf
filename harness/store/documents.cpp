// Documents: contents once, the list of an iteration's documents once per distinct list, and per iteration a reference
// with the process ids, which are all that changes in a quiet soak.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>

#include "base/text.h"
#include "store/reader.h"
#include "store/writer.h"

namespace migsoak::store {

namespace {

// A run whose documents never repeat must not grow the harness.
constexpr std::size_t kCachedDocumentSetsMax = 256;

}  // namespace

std::int64_t Writer::document_set_id(const std::string& documents) {
  if (const auto it = cache_.document_sets.find(documents); it != cache_.document_sets.end()) return it->second;
  std::int64_t id = 0;
  {
    Query found(statement("SELECT id FROM document_set WHERE hash = ? AND documents = ?"));
    if (found.bind(hash_of(documents), documents).step()) id = found.integer(0);
  }
  if (id == 0) {
    Query(statement("INSERT INTO document_set (hash, documents) VALUES (?, ?)"))
        .bind(hash_of(documents), documents)
        .run();
    id = last_id();
  }
  if (cache_.document_sets.size() >= kCachedDocumentSetsMax) cache_.document_sets.clear();
  cache_.document_sets.emplace(documents, id);
  return id;
}

void Writer::write_documents(const record::Observation& observation) {
  if (observation.documents.empty()) return;
  base::Json documents = base::Json::array();
  std::vector<std::int64_t> processes;
  std::map<std::int64_t, std::size_t> slot_of;
  for (const record::Document& document : observation.documents) {
    const auto [slot, is_new] = slot_of.try_emplace(document.process_id, processes.size());
    if (is_new) processes.push_back(document.process_id);
    documents.push_back(
        {document.kind, document.subject, document.point, text_id(base::dump_json(document.content)), slot->second});
  }
  const std::int64_t set = document_set_id(base::dump_json(documents));
  Query(statement("INSERT INTO document_list (iteration, document_set, processes) VALUES (?, ?, ?)"))
      .bind(observation.iteration, set, fmt::format("[{}]", fmt::join(processes, ",")))
      .run();
}

base::Result<Reader::DocumentSet> Reader::document_set(std::int64_t id) {
  std::string documents;
  {
    Query row(statement("SELECT documents FROM document_set WHERE id = ?"));
    if (!row.bind(id).step()) return damaged(connection_.path, "document set missing");
    documents = row.text(0);
  }
  const std::string context = "database " + base::printable(connection_.path) + ", document";
  MIGSOAK_ASSIGN(const base::Json json, parse_stored(documents), context);
  if (!json.is_array()) return damaged(connection_.path, "document set is no list");
  DocumentSet set;
  for (const base::Json& item : json) {
    if (!item.is_array() || item.size() != 5 || !item[0].is_string() || !item[1].is_string() || !item[2].is_string() ||
        !item[3].is_number_integer() || !item[4].is_number_unsigned()) {
      return damaged(connection_.path, "document set incomplete");
    }
    record::Document& document = set.documents.emplace_back();
    document.kind = item[0].get<std::string>();
    document.subject = item[1].get<std::string>();
    document.point = item[2].get<std::string>();
    set.slots.push_back(item[4].get<std::size_t>());
    document.content_id = item[3].get<std::int64_t>();
    Query content(statement("SELECT value FROM text WHERE id = ?"));
    if (!content.bind(document.content_id).step()) return damaged(connection_.path, "document without content");
    MIGSOAK_ASSIGN(document.content, parse_stored(content.view(0)), context);
  }
  return set;
}

base::Result<void> Reader::load_document_lists(Block& into) {
  if (connection_.schema < 2 || into.size == 0) return {};
  const std::string context =
      "database " + base::printable(connection_.path) + ", processes of an iteration's documents";
  Query rows(
      statement("SELECT iteration, document_set, processes FROM document_list WHERE iteration BETWEEN ? AND ? ORDER BY "
                "iteration"));
  rows.bind(into.rows.front().observation.iteration, into.rows[into.size - 1].observation.iteration);
  return beside(rows, 0, into, [&](Loaded& loaded) -> base::Result<void> {
    loaded.document_set = rows.integer(1);
    MIGSOAK_ASSIGN(loaded.document_processes, integers_of(rows.view(2)), context);
    return {};
  });
}

base::Result<void> Reader::name_processes(const Loaded& loaded, DocumentSet& set) const {
  for (std::size_t i = 0; i < set.documents.size(); ++i) {
    if (set.slots[i] >= loaded.document_processes.size())
      return damaged(connection_.path, "document without its process");
    set.documents[i].process_id = loaded.document_processes[set.slots[i]];
  }
  return {};
}

}  // namespace migsoak::store
