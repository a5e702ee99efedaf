// Classes of three sizes, where three methods are allowed.
#pragma once
#include <string>

class Fits {
 public:
  Fits();
  int one() const { return 1; }
  bool two(int a, int b);

 private:
  int data_ = 0;
};

class Excepted {
  void one();
  void two();
  void three();
  void four();
};

class TooLarge final : public Fits {
 public:
  explicit TooLarge(int a);
  ~TooLarge();
  [[nodiscard]] std::string three() const;

 private:
  bool four();
  int data_ = 0;
};
