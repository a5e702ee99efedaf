// QtestPort: a throwaway VM's I/O ports and memory over QEMU's qtest protocol (QEMU tests/qtest, system/qtest.c):
// "outl 0xcf8 0x80000000" -> "OK", "inl 0xcfc" -> "OK 0x...", "read 0xADDR 0xSIZE" -> "OK 0x<hex bytes>". Whole
// scripts are sent at once. Never for a VM with a guest.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/deadline.h"
#include "base/result.h"
#include "proc/reactor.h"

namespace migsoak::compat {

// Accesses, in order. What reads returns its number among the answers.
class QtestScript {
 public:
  // `width`: 1, 2 or 4 bytes.
  void out(int width, std::uint32_t port, std::uint32_t value);
  std::size_t in(int width, std::uint32_t port);
  void write(int width, std::uint64_t address, std::uint32_t value);
  std::size_t read(int width, std::uint64_t address);
  std::size_t read_block(std::uint64_t address, std::size_t size);

  bool empty() const { return count_ == 0; }
  std::size_t count() const { return count_; }
  const std::string& text() const { return text_; }

 private:
  std::size_t add(const std::string& line);
  std::string text_;
  std::size_t count_ = 0;
};

class QtestAnswers {
 public:
  explicit QtestAnswers(std::vector<std::string> lines) : lines_(std::move(lines)) {}
  // All ones when the answer is no number.
  std::uint32_t number(std::size_t index) const;
  // Of read_block(); bytes that did not come read 0xff.
  std::vector<std::uint8_t> block(std::size_t index, std::size_t size) const;

 private:
  std::vector<std::string> lines_;  // what stood after "OK"
};

class QtestPort {
 public:
  // kind subject: nothing listens there.
  static base::Result<std::unique_ptr<QtestPort>> connect(proc::Reactor& reactor, const std::string& socket_path);
  ~QtestPort();
  QtestPort(const QtestPort&) = delete;
  QtestPort& operator=(const QtestPort&) = delete;

  // kind subject: QEMU went away or answered what the protocol does not allow; kind timeout: it did not answer.
  base::Result<QtestAnswers> run(const QtestScript& script, base::Deadline deadline);

 private:
  struct Impl;
  explicit QtestPort(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace migsoak::compat
