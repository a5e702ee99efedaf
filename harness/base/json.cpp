#include "base/json.h"

namespace migsoak::base {

Result<Json> parse_json(std::string_view text) {
  bool too_deep = false;
  const auto guard = [&too_deep](int depth, Json::parse_event_t, Json&) {
    if (depth > kJsonDepthMax) too_deep = true;
    return !too_deep;
  };
  // nlohmann 3.11 keeps its own stack on the heap while parsing, so depth is a matter of memory, not of the stack;
  // destruction is iterative too. The limit keeps later recursive walks safe.
  Json value = Json::parse(text, guard, /*allow_exceptions=*/false);
  if (too_deep) return fail(ErrorKind::bad_input, "JSON nested deeper than 64 levels");
  if (value.is_discarded()) return fail(ErrorKind::bad_input, "not valid JSON");
  return value;
}

std::string json_text(const Json& object, std::string_view key, std::size_t bytes_max) {
  return printable(json_get<std::string>(object, key, ""), bytes_max);
}

std::string dump_json(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace migsoak::base
