#include "guest/console_text.h"

#include <utility>

#include "base/text.h"

namespace migsoak::guest {

namespace {

constexpr std::size_t kPendingBytesMax = 1024;
constexpr std::size_t kAlarmsKept = 100;

}  // namespace

Alarm alarm_of(std::string_view line) {
  struct Pattern {
    std::string_view text;
    bool is_fatal;
  };
  static constexpr Pattern kPatterns[] = {
#define ALARM(text, is_fatal) {text, is_fatal},
#include "guest/console_alarms.def"
#undef ALARM
  };
  for (const Pattern& pattern : kPatterns) {
    if (line.find(pattern.text) != std::string_view::npos) return pattern.is_fatal ? Alarm::fatal : Alarm::hurt;
  }
  return Alarm::none;
}

std::vector<std::string> ConsoleText::add_bytes(std::string_view bytes) {
  std::vector<std::string> finished;
  while (!bytes.empty()) {
    const std::size_t end = bytes.find('\n');
    const std::string_view piece = bytes.substr(0, end);
    const std::size_t room = kPendingBytesMax - pending_.size();
    pending_ += piece.substr(0, room);
    if (piece.size() > room) pending_cut_ += piece.size() - room;
    if (end == std::string_view::npos) break;
    bytes.remove_prefix(end + 1);
    finish_line(finished);
  }
  return finished;
}

void ConsoleText::finish_line(std::vector<std::string>& finished) {
  while (!pending_.empty() && pending_.back() == '\r') pending_.pop_back();
  std::string line = base::printable(std::exchange(pending_, {}), base::LineRing::kLineBytesMax);
  lines_.note_dropped(std::exchange(pending_cut_, 0));
  if (line.empty()) return;
  const Alarm alarm = alarm_of(line);
  panicked_ = panicked_ || alarm == Alarm::fatal;
  if (alarm != Alarm::none && alarms_.size() < kAlarmsKept) alarms_.push_back(line);
  lines_.push(line);
  finished.push_back(std::move(line));
}

std::vector<std::string> ConsoleText::take_alarm_lines() {
  return std::exchange(alarms_, {});
}

}  // namespace migsoak::guest
