// The embedded schema.sql, and what marks a database as ours.
#pragma once

namespace migsoak::store {

extern const char* const kSchemaSql;
inline constexpr int kApplicationId = 1835624307;  // "migs", as in schema.sql
inline constexpr int kSchemaVersion = 1;           // PRAGMA user_version, as in schema.sql

}  // namespace migsoak::store
