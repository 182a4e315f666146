/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A small TAP harness (testanything.org) for plain C programs.
 *
 *   TEST(R03, "a fresh IOAS has one range") { ... CHECK_ERR(ioctl(...), EINVAL); CHECK_EQ(a, b); }
 *
 * TEST registers itself; main() is here. A failed CHECK prints what it saw and the test goes on; REQUIRE and
 * SKIP leave the test. Descriptors given to keep() are closed after the test, newest first. Arguments name
 * the tests to run.
 */
#ifndef CONFORMANCE_HARNESS_H
#define CONFORMANCE_HARNESS_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct {
  struct harness_test {
    const char *id, *title;
    void (*run)(void);
  } tests[256];
  int num_tests;
  bool failed;
  char skip_reason[256];
  jmp_buf leave;
  int kept[256], num_kept;
} harness;

#define TEST(id, title)                                                  \
  static void test_##id(void);                                           \
  __attribute__((constructor)) static void register_##id(void) {         \
    const struct harness_test t = {#id, title, test_##id};               \
    if (harness.num_tests < 256) harness.tests[harness.num_tests++] = t; \
  }                                                                      \
  static void test_##id(void)

/* Like printf, for a line of diagnosis. */
__attribute__((format(printf, 1, 2))) static inline void note(const char* format, ...) {
  va_list args;
  printf("# ");
  va_start(args, format);
  vprintf(format, args);
  va_end(args);
  printf("\n");
}

static inline const char* errno_text(int e) {
  return e == 0 ? "success" : strerrorname_np(e) ? strerrorname_np(e) : "an unknown error";
}

static inline bool harness_err(const char* at, int line, const char* what, long got, int saw, int want) {
  const int e = got < 0 ? saw : 0;
  if (e == want) return true;
  note("%s:%d: %s: got %s, want %s", at, line, what, errno_text(e), errno_text(want));
  harness.failed = true;
  return false;
}

static inline bool harness_compare(const char* at, int line, const char* what, bool good, unsigned long long a,
                                   unsigned long long b) {
  if (good) return true;
  note("%s:%d: %s: %#llx, %#llx", at, line, what, a, b);
  harness.failed = true;
  return false;
}

/* `call` returns -1 with errno `want`, or anything else when `want` is 0. */
#define CHECK_ERR(call, want)                                       \
  __extension__({                                                   \
    long result_;                                                   \
    errno = 0;                                                      \
    result_ = (long)(call);                                         \
    harness_err(__FILE__, __LINE__, #call, result_, errno, (want)); \
  })
#define CHECK_OK(call) CHECK_ERR(call, 0)
#define CHECK_OP_(a, op, b)                                                              \
  __extension__({                                                                        \
    const unsigned long long a_ = (unsigned long long)(a), b_ = (unsigned long long)(b); \
    harness_compare(__FILE__, __LINE__, #a " " #op " " #b, a_ op b_, a_, b_);            \
  })
#define CHECK_EQ(a, b) CHECK_OP_(a, ==, b)
#define CHECK_NE(a, b) CHECK_OP_(a, !=, b)
#define CHECK_LE(a, b) CHECK_OP_(a, <=, b)
#define CHECK_GE(a, b) CHECK_OP_(a, >=, b)
#define CHECK(condition) harness_compare(__FILE__, __LINE__, #condition, (condition), 0, 0)
#define REQUIRE(check) ((check) ? (void)0 : longjmp(harness.leave, 1))
#define SKIP(...) (snprintf(harness.skip_reason, sizeof(harness.skip_reason), __VA_ARGS__), longjmp(harness.leave, 1))

static inline int keep(int fd) {
  if (fd >= 0 && harness.num_kept < 256) harness.kept[harness.num_kept++] = fd;
  return fd;
}

/* Closes a kept descriptor before the test ends. */
static inline void close_kept(int fd) {
  for (int i = 0; i < harness.num_kept; i++)
    if (harness.kept[i] == fd) harness.kept[i] = -1;
  close(fd);
}

static bool harness_wanted(const char* id, int argc, char** argv) {
  for (int i = 1; i < argc; i++)
    if (strcmp(argv[i], id) == 0) return true;
  return argc <= 1;
}

static void harness_run(void (*run)(void)) {
  if (setjmp(harness.leave) == 0) run();
}

int main(int argc, char** argv) {
  int number = 0, failures = 0;
  setvbuf(stdout, NULL, _IOLBF, 0);
  for (int i = 0; i < harness.num_tests; i++) {
    const struct harness_test* t = &harness.tests[i];
    if (!harness_wanted(t->id, argc, argv)) continue;
    harness.failed = false;
    harness.skip_reason[0] = 0;
    harness.num_kept = 0;
    harness_run(t->run);
    while (harness.num_kept > 0)
      if (harness.kept[--harness.num_kept] >= 0) close(harness.kept[harness.num_kept]);
    printf("%s %d - %s %s%s%s\n", harness.failed ? "not ok" : "ok", ++number, t->id, t->title,
           harness.skip_reason[0] ? " # SKIP " : "", harness.skip_reason);
    failures += harness.failed;
  }
  printf("1..%d\n", number);
  if (number == 0) note("no such test");
  return failures != 0 || number == 0;
}

#endif
