TEST(A, B) {
  GTEST_SKIP();
  GTEST_SKIP()
      << "with a reason";
}
