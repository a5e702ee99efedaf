// Findings and exclusions: derived data, changed row by row while a run goes on, replaced as a whole by `judge`.
#include "base/text.h"
#include "store/impl.h"

namespace migsoak::store {

namespace {

constexpr const char* kLastIteration = "last_iteration";

// What changes with each occurrence stands in columns, so that the rest of a row stays as it is.
std::optional<std::int64_t> take_volatile(base::Json& json) {
  json.erase("count");
  const auto evidence = json.find("evidence");
  if (evidence == json.end() || !evidence->is_object()) return std::nullopt;
  const auto last = evidence->find(kLastIteration);
  if (last == evidence->end() || !last->is_number_integer()) return std::nullopt;
  const auto value = last->get<std::int64_t>();
  evidence->erase(last);
  return value;
}

void put_volatile(base::Json& json, std::int64_t count, const std::optional<std::int64_t>& last_iteration) {
  if (!json.is_object()) return;  // told by whoever reads it
  json["count"] = count;
  const auto evidence = json.find("evidence");
  if (last_iteration && evidence != json.end() && evidence->is_object()) (*evidence)[kLastIteration] = *last_iteration;
}

}  // namespace

void Writer::write_finding(const record::Finding& finding) {
  base::Json json = record::to_json(finding);
  const std::optional<std::int64_t> last_iteration = take_volatile(json);
  const std::string text = base::dump_json(json);
  const std::int64_t hash = hash_of(text);
  const auto known = cache_.findings.find(finding.fingerprint);
  if (known != cache_.findings.end() && known->second == hash) {
    Query(statement("UPDATE finding SET count = ?, last_iteration = ? WHERE fingerprint = ?"))
        .bind(finding.count, last_iteration, finding.fingerprint)
        .run();
    return;
  }
  if (known == cache_.findings.end()) {
    Query(statement("INSERT INTO finding (position, detector, severity, blame, process, kind, count, title, "
                    "fingerprint, json) SELECT coalesce(max(position), -1) + 1, '', '', '', '', '', 0, '', ?, '' "
                    "FROM finding"))
        .bind(finding.fingerprint)
        .run();
  }
  Query(statement("UPDATE finding SET detector = ?, severity = ?, blame = ?, process = ?, kind = ?, first_iteration = "
                  "?, detected_iteration = ?, count = ?, rate_per_iteration = ?, exhausts_at_iteration = ?, title = ?, "
                  "last_iteration = ?, json = ? WHERE position = (SELECT max(position) FROM finding WHERE fingerprint "
                  "= ?)"))
      .bind(finding.detector, record::to_string(finding.severity), record::to_string(finding.blame), finding.process,
            finding.kind, finding.first_iteration, finding.detected_iteration, finding.count,
            finding.rate_per_iteration, finding.exhausts_at_iteration, finding.title, last_iteration, text,
            finding.fingerprint)
      .run();
  cache_.findings[finding.fingerprint] = hash;
}

void Writer::write_findings(const Store::FindingChanges& changes) {
  for (const record::Finding& finding : changes.changed) {
    if (!cache_.findings.contains(finding.fingerprint)) {  // of an earlier session, or before an error
      Query(statement("DELETE FROM finding WHERE fingerprint = ?")).bind(finding.fingerprint).run();
    }
    write_finding(finding);
  }
  for (const std::string& fingerprint : changes.gone) {
    Query(statement("DELETE FROM finding WHERE fingerprint = ?")).bind(fingerprint).run();
    cache_.findings.erase(fingerprint);
  }
  for (const record::Exclusion& exclusion : changes.exclusions) {
    Query(statement("UPDATE exclusion SET count = ? WHERE name = ? AND detector = ? AND reason = ?"))
        .bind(exclusion.count, exclusion.name, exclusion.detector, exclusion.reason)
        .run();
    if (::sqlite3_changes(connection_.db->getHandle()) > 0) continue;
    Query(
        statement("INSERT INTO exclusion (position, name, detector, reason, count) SELECT coalesce(max(position), -1) "
                  "+ 1, ?, ?, ?, ? FROM exclusion"))
        .bind(exclusion.name, exclusion.detector, exclusion.reason, exclusion.count)
        .run();
  }
}

void Writer::replace_findings(const std::vector<record::Finding>& findings,
                              const std::vector<record::Exclusion>& exclusions) {
  Query(statement("DELETE FROM finding")).run();
  Query(statement("DELETE FROM exclusion")).run();
  cache_.findings.clear();
  for (const record::Finding& finding : findings) {
    cache_.findings.erase(finding.fingerprint);  // each has its row, whoever else is called so
    write_finding(finding);
  }
  int position = 0;
  for (const record::Exclusion& exclusion : exclusions) {
    Query(statement("INSERT INTO exclusion (position, name, detector, reason, count) VALUES (?, ?, ?, ?, ?)"))
        .bind(position++, exclusion.name, exclusion.detector, exclusion.reason, exclusion.count)
        .run();
  }
}

base::Result<void> Store::replace_findings(const std::vector<record::Finding>& findings,
                                           const std::vector<record::Exclusion>& exclusions) {
  return impl_->in_transaction([&]() -> base::Result<void> {
    impl_->writer.replace_findings(findings, exclusions);
    return {};
  });
}

base::Result<std::vector<record::Finding>> Store::findings() const {
  return impl_->guarded([&]() -> base::Result<std::vector<record::Finding>> {
    std::vector<record::Finding> findings;
    const std::string context = "finding in " + base::printable(path());
    // NULLs come first, as an iteration that is not known does.
    static const char* const kWithColumns =
        "SELECT json, count, last_iteration FROM finding ORDER BY severity = 'warn', coalesce(first_iteration, -1), "
        "detected_iteration, fingerprint, position";
    static const char* const kOld = "SELECT json, count, NULL FROM finding ORDER BY position";
    Query rows(impl_->statement(impl_->connection.schema < 3 ? kOld : kWithColumns));
    while (rows.step()) {
      MIGSOAK_ASSIGN(base::Json json, parse_stored(rows.text(0)), context);
      std::optional<std::int64_t> last_iteration;
      if (!rows.is_null(2)) last_iteration = rows.integer(2);
      put_volatile(json, rows.integer(1), last_iteration);
      MIGSOAK_ASSIGN(record::Finding finding, record::finding_from_json(json), context);
      findings.push_back(std::move(finding));
    }
    return findings;
  });
}

base::Result<std::vector<record::Exclusion>> Store::exclusions() const {
  return impl_->guarded([&]() -> base::Result<std::vector<record::Exclusion>> {
    std::vector<record::Exclusion> exclusions;
    Query rows(impl_->statement("SELECT name, detector, reason, count FROM exclusion ORDER BY position"));
    while (rows.step()) exclusions.push_back({rows.text(0), rows.text(1), rows.text(2), rows.integer(3)});
    return exclusions;
  });
}

}  // namespace migsoak::store
