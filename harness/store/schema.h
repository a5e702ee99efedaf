// The embedded schema.sql and what later versions added, and what marks a database as ours.
#pragma once

namespace migsoak::store {

extern const char* const kSchemaSql;               // schema 1
extern const char* const kSchema2Sql;              // what schema 2 adds to it
extern const char* const kSchema3Sql;              // and schema 3
inline constexpr int kApplicationId = 1835624307;  // "migs", as in schema.sql
inline constexpr int kSchemaVersion = 3;           // PRAGMA user_version, as the last of them sets it

}  // namespace migsoak::store
