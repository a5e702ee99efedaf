#include "proc/reactor.h"

#include <gtest/gtest.h>

#include <stdexcept>
#include <thread>
// GCC 12 sees a null pointer in asio's inlined scheduler where there is none (its thread-local call stack).
#pragma GCC diagnostic ignored "-Wnull-dereference"
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

namespace migsoak::proc {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

base::Deadline soon() {
  return base::Deadline::in(seconds(30));
}

TEST(Reactor, APredicateThatHoldsNeedsNoWait) {
  Reactor reactor;
  EXPECT_EQ(reactor.run_until([] { return true; }, base::Deadline::in(milliseconds(0))), Wait::ready);
}

TEST(Reactor, TheDeadlineEndsAWait) {
  Reactor reactor;
  const auto before = base::Clock::now();
  EXPECT_EQ(reactor.run_until([] { return false; }, base::Deadline::in(milliseconds(30))), Wait::timeout);
  EXPECT_GE(base::Clock::now() - before, milliseconds(30));
}

TEST(Reactor, HandlersAreFollowedByALook) {
  Reactor reactor;
  bool fired = false;
  boost::asio::steady_timer timer(reactor.io(), milliseconds(5));
  timer.async_wait([&](const boost::system::error_code&) { fired = true; });
  // The recheck is too rare to help.
  EXPECT_EQ(reactor.run_until([&] { return fired; }, soon(), seconds(60)), Wait::ready);
}

TEST(Reactor, RecheckSeesWhatNoHandlerTells) {
  Reactor reactor;
  const auto when = base::Clock::now() + milliseconds(20);
  EXPECT_EQ(reactor.run_until([&] { return base::Clock::now() >= when; }, soon(), milliseconds(1)), Wait::ready);
}

TEST(Reactor, OnlyTheSecondStopInterrupts) {
  StopRequest stop;
  Reactor reactor(&stop);
  stop.raise();
  EXPECT_EQ(reactor.run_until([] { return false; }, base::Deadline::in(milliseconds(10))), Wait::timeout);
  std::thread user([&stop] { stop.raise(); });
  EXPECT_EQ(reactor.run_until([] { return false; }, soon(), seconds(60)), Wait::interrupted);
  user.join();
  EXPECT_EQ(reactor.run_until([] { return true; }, soon()), Wait::ready);
}

TEST(Reactor, AThrowingHandlerEndsNothing) {
  Reactor reactor;
  bool second = false;
  boost::asio::post(reactor.io(), [] { throw std::runtime_error("oops"); });
  boost::asio::post(reactor.io(), [&] { second = true; });
  EXPECT_EQ(reactor.run_until([&] { return second; }, soon()), Wait::ready);
}

TEST(Reactor, PollDoesNotWait) {
  Reactor reactor;
  int ran = 0;
  reactor.poll();
  boost::asio::post(reactor.io(), [&] { ++ran; });
  reactor.poll();
  EXPECT_EQ(ran, 1);
}

}  // namespace
}  // namespace migsoak::proc
