int fits() {
  return 1;
}
int excepted() {
  int a = 1;
  int b = 2;
  int c = 3;
  return a + b + c;
}
int too_long() {
  int a = 1;
  int b = 2;
  int c = 3;
  return a + b + c;
}
