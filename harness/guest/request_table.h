// RequestTable: requests under way and the answers being put together from their parts. Pure.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace migsoak::guest {

class RequestTable {
 public:
  // Ids of one table start at `first_id`: another table of the same guest must start elsewhere, because the agent
  // answers a repeated id from memory.
  explicit RequestTable(std::uint64_t first_id) : next_id_(first_id) {}

  // A new request; `text` is "<command> key=value ...". Returns its id.
  std::uint64_t add(std::string_view text);
  // Lines of requests that have no answer yet, to be framed and sent (again).
  std::vector<std::string> unanswered() const;
  std::optional<std::string> line_of(std::uint64_t id) const;
  // "A <id> <part> <parts> <payload>". False when it is no such line, or nobody asked.
  bool take_part(std::string_view text);
  bool answered(std::uint64_t id) const;
  // The answer, once; null JSON when it was not valid JSON.
  std::optional<base::Json> take_answer(std::uint64_t id);
  void forget(std::uint64_t id);

 private:
  struct Request {
    std::string line;
    std::map<std::size_t, std::string> parts;
    std::size_t part_count = 0;
    std::optional<base::Json> answer;
  };
  std::uint64_t next_id_;
  std::map<std::uint64_t, Request> requests_;
  std::deque<std::uint64_t> finished_;  // ids whose repeated answers are no surprise
};

}  // namespace migsoak::guest
