#include "guest/request_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace migsoak::guest {

namespace {

constexpr std::size_t kPartsMax = 4096;
constexpr std::size_t kFinishedKept = 64;

template <typename T>
std::optional<T> take_number(std::string_view& text, int radix) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, radix);
  if (error != std::errc() || end == text.data() + text.size() || *end != ' ') return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()) + 1);
  return value;
}

}  // namespace

std::uint64_t RequestTable::add(std::string_view text) {
  const std::uint64_t id = next_id_++;
  requests_[id].line = fmt::format("Q {:x} {}", id, text);
  return id;
}

std::vector<std::string> RequestTable::unanswered() const {
  std::vector<std::string> lines;
  for (const auto& [id, request] : requests_) {
    if (!request.answer) lines.push_back(request.line);
  }
  return lines;
}

std::optional<std::string> RequestTable::line_of(std::uint64_t id) const {
  const auto it = requests_.find(id);
  return it == requests_.end() ? std::nullopt : std::optional(it->second.line);
}

bool RequestTable::take_part(std::string_view text) {
  if (text.substr(0, 2) != "A ") return false;
  text.remove_prefix(2);
  const auto id = take_number<std::uint64_t>(text, 16);
  const auto part = id ? take_number<std::size_t>(text, 10) : std::nullopt;
  const auto part_count = part ? take_number<std::size_t>(text, 10) : std::nullopt;
  if (!part_count || *part < 1 || *part > *part_count || *part_count > kPartsMax) return false;
  const auto it = requests_.find(*id);
  if (it == requests_.end()) return std::find(finished_.begin(), finished_.end(), *id) != finished_.end();
  Request& request = it->second;
  if (request.answer) return true;  // the answer to a repetition
  if (request.part_count != *part_count) {
    request.parts.clear();
    request.part_count = *part_count;
  }
  request.parts[*part] = std::string(text);
  if (request.parts.size() < request.part_count) return true;
  std::string whole;
  for (const auto& [number, payload] : request.parts) whole += payload;
  request.parts.clear();
  base::Result<base::Json> json = base::parse_json(whole);
  request.answer = json ? std::move(*json) : base::Json();
  return true;
}

bool RequestTable::answered(std::uint64_t id) const {
  const auto it = requests_.find(id);
  return it != requests_.end() && it->second.answer.has_value();
}

std::optional<base::Json> RequestTable::take_answer(std::uint64_t id) {
  const auto it = requests_.find(id);
  if (it == requests_.end() || !it->second.answer) return std::nullopt;
  std::optional<base::Json> answer = std::move(it->second.answer);
  forget(id);
  return answer;
}

void RequestTable::forget(std::uint64_t id) {
  if (requests_.erase(id) == 0) return;
  finished_.push_back(id);
  if (finished_.size() > kFinishedKept) finished_.pop_front();
}

}  // namespace migsoak::guest
