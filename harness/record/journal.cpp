#include "record/journal.h"

#include <cassert>
#include <utility>

#include "base/text.h"

namespace migsoak::record {

namespace {
constexpr std::size_t kTextMax = 1000;
}  // namespace

Journal::Entry::Entry(Journal& journal, const char* kind, std::string subject) : journal_(journal) {
  event_.kind = kind;
  event_.subject = std::move(subject);
  event_.phase = journal.phase();
  event_.at_ms = journal.at_ms();
}

Journal::Entry::~Entry() {
  commit();
}

Journal::Entry& Journal::Entry::process(std::int64_t id) {
  event_.process_id = id;
  return *this;
}

Journal::Entry& Journal::Entry::text(std::string_view line) {
  event_.text = base::printable(line, kTextMax);
  return *this;
}

Journal::Entry& Journal::Entry::detail(base::Json all) {
  event_.detail = std::move(all);
  return *this;
}

Journal::Entry& Journal::Entry::detail(const char* key, base::Json value) {
  event_.detail[key] = std::move(value);
  return *this;
}

Journal::Entry& Journal::Entry::since(std::string phase, double at_ms) {
  event_.phase = std::move(phase);
  event_.at_ms = at_ms;
  return *this;
}

std::size_t Journal::Entry::commit() {
  if (!std::exchange(committed_, true)) {
    std::vector<Event>& events = journal_.into_.events;
    place_ = events.size();
    events.push_back(std::move(event_));
  }
  return place_;
}

Journal::Journal(Observation& into, base::Clock::time_point began) : into_(into), began_(began) {}

void Journal::amend(std::size_t place, const char* key, base::Json value) {
  assert(place < into_.events.size());
  into_.events[place].detail[key] = std::move(value);
}

void Journal::sample(const std::string& subject, std::int64_t process_id, const std::string& metric, double value) {
  into_.samples.push_back({subject, process_id, metric, value});
}

void Journal::document(Document document) {
  into_.documents.push_back(std::move(document));
}

void Journal::documents(std::vector<Document> documents) {
  for (Document& one : documents) document(std::move(one));
}

void Journal::born(ProcessInstance instance) {
  into_.processes_born.push_back(std::move(instance));
}

void Journal::ended(ProcessEnd end) {
  into_.processes_ended.push_back(std::move(end));
}

double Journal::at_ms() const {
  return base::milliseconds_between(began_, base::Clock::now());
}

}  // namespace migsoak::record
