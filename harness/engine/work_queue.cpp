#include "engine/work_queue.h"

#include <algorithm>
#include <cassert>

namespace migsoak::engine {

namespace {

// As many blocks as lanes, or one for each stretch where there are more stretches. Each further lane goes to the
// stretch with the longest blocks.
std::deque<Stretch> even_blocks(const std::vector<Stretch>& missing, int lanes) {
  std::vector<std::int64_t> shares(missing.size(), 1);
  const auto longer_blocks = [&](std::size_t a, std::size_t b) {
    return missing[a].size() * shares[b] > missing[b].size() * shares[a];
  };
  for (auto left = static_cast<std::int64_t>(lanes) - static_cast<std::int64_t>(missing.size()); left > 0; --left) {
    std::size_t longest = 0;
    for (std::size_t i = 1; i < missing.size(); ++i) {
      if (longer_blocks(i, longest)) longest = i;
    }
    if (missing.empty() || shares[longest] >= missing[longest].size()) break;
    ++shares[longest];
  }
  std::deque<Stretch> blocks;
  for (std::size_t i = 0; i < missing.size(); ++i) {
    for (std::int64_t share = 0; share < shares[i]; ++share) {
      blocks.push_back({missing[i].begin + missing[i].size() * share / shares[i],
                        missing[i].begin + missing[i].size() * (share + 1) / shares[i]});
    }
  }
  return blocks;
}

}  // namespace

void IterationSet::add(Stretch stretch) {
  if (stretch.size() <= 0) return;
  const auto at = std::lower_bound(stretches_.begin(), stretches_.end(), stretch,
                                   [](const Stretch& a, const Stretch& b) { return a.end < b.begin; });
  auto overlaps_end = at;
  for (; overlaps_end != stretches_.end() && overlaps_end->begin <= stretch.end; ++overlaps_end) {
    stretch.begin = std::min(stretch.begin, overlaps_end->begin);
    stretch.end = std::max(stretch.end, overlaps_end->end);
  }
  if (at == overlaps_end) {
    stretches_.insert(at, stretch);
  } else {
    *at = stretch;
    stretches_.erase(at + 1, overlaps_end);
  }
}

std::vector<Stretch> IterationSet::missing_of(Stretch range) const {
  std::vector<Stretch> missing;
  for (const Stretch& stretch : stretches_) {
    if (stretch.begin >= range.end) break;
    if (stretch.begin > range.begin) missing.push_back({range.begin, stretch.begin});
    range.begin = std::max(range.begin, stretch.end);
  }
  if (range.size() > 0) missing.push_back(range);
  return missing;
}

std::int64_t IterationSet::last() const {
  return stretches_.empty() ? -1 : stretches_.back().end - 1;
}

WorkQueue::WorkQueue(std::vector<Stretch> missing, std::int64_t lineage, int lanes) : lineage_(lineage) {
  std::int64_t stretches = 0;
  for (const Stretch& one : missing) {
    assert(one.size() > 0);
    missing_ += one.size();
    stretches += lineage_ > 0 ? (one.end - 1) / lineage_ - one.begin / lineage_ + 1 : 1;
  }
  pieces_ = lineage_ > 0 ? std::deque<Stretch>(missing.begin(), missing.end()) : even_blocks(missing, lanes);
  if (lineage_ == 0) stretches = static_cast<std::int64_t>(pieces_.size());
  lanes_ = static_cast<int>(std::clamp<std::int64_t>(stretches, 1, std::max(1, lanes)));
}

std::optional<Stretch> WorkQueue::take() {
  const std::lock_guard lock(mutex_);
  if (pieces_.empty()) return std::nullopt;
  Stretch& piece = pieces_.front();
  Stretch next = piece;
  if (lineage_ > 0) next.end = std::min(piece.end, (piece.begin / lineage_ + 1) * lineage_);
  piece.begin = next.end;
  if (piece.size() == 0) pieces_.pop_front();
  return next;
}

void WorkQueue::finished(std::int64_t) {
  const std::lock_guard lock(mutex_);
  --missing_;
}

void WorkQueue::left_out(Stretch rest) {
  const std::lock_guard lock(mutex_);
  missing_ -= rest.size();
  left_out_ += rest.size();
}

std::int64_t WorkQueue::missing() const {
  const std::lock_guard lock(mutex_);
  return missing_;
}

std::int64_t WorkQueue::left_out() const {
  const std::lock_guard lock(mutex_);
  return left_out_;
}

}  // namespace migsoak::engine
