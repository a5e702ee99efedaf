// Journal: the only way to record what happens in an iteration. It owns the iteration's clock and its phase, so that
// whoever records something says only what it is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/deadline.h"
#include "base/json.h"
#include "record/observation.h"

namespace migsoak::record {

class Journal {
 public:
  // An event on its way into the record: when and in which phase is settled, and it is written down at the end of its
  // scope (or by commit()). Until then others may be recorded, and come before it.
  class Entry {
   public:
    Entry(Journal& journal, const char* kind, std::string subject);
    ~Entry();
    Entry(const Entry&) = delete;
    Entry& operator=(const Entry&) = delete;

    Entry& process(std::int64_t id);
    // One line; made printable, and bounded.
    Entry& text(std::string_view line);
    Entry& detail(base::Json all);
    Entry& detail(const char* key, base::Json value);
    // It began earlier than it is recorded.
    Entry& since(std::string phase, double at_ms);
    // The place of the event in this journal, for amend().
    std::size_t commit();

   private:
    Journal& journal_;
    Event event_;
    bool committed_ = false;
    std::size_t place_ = 0;
  };

  // Borrows `into`. The iteration began at `began`.
  explicit Journal(Observation& into, base::Clock::time_point began = base::Clock::now());

  Entry event(const char* kind, std::string subject) { return Entry(*this, kind, std::move(subject)); }
  // Adds to the detail of an event that was committed.
  void amend(std::size_t place, const char* key, base::Json value);
  void sample(const std::string& subject, std::int64_t process_id, const std::string& metric, double value);
  void document(Document document);
  void documents(std::vector<Document> documents);
  void born(ProcessInstance instance);
  void ended(ProcessEnd end);

  // Of everything that is recorded from now on.
  void begin_phase(std::string name) { into_.phase = std::move(name); }
  const std::string& phase() const { return into_.phase; }
  // Since the iteration began.
  double at_ms() const;

  const Plan& plan() const { return into_.plan; }
  // For probes, which fill it with what is no event, and for the outcome of the iteration.
  Observation& observation() { return into_; }

 private:
  Observation& into_;
  base::Clock::time_point began_;
};

// Records under another phase for a while.
class PhaseScope {
 public:
  PhaseScope(Journal& journal, std::string name) : journal_(journal), before_(journal.phase()) {
    journal_.begin_phase(std::move(name));
  }
  ~PhaseScope() { journal_.begin_phase(before_); }
  PhaseScope(const PhaseScope&) = delete;
  PhaseScope& operator=(const PhaseScope&) = delete;

 private:
  Journal& journal_;
  std::string before_;
};

}  // namespace migsoak::record
