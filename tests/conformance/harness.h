/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A small TAP harness (testanything.org) for plain C programs.
 *
 *   SECTION("iommufd-core 3.2");
 *   TEST(R03, "a fresh IOAS has one range") { ... CHECK_ERR(ioctl(...), EINVAL); CHECK_EQ(a, b); }
 *   TEST_ROWS(U02, "U03", "IOVA or length 2^64-1: EOVERFLOW") { ... }
 *
 * TEST registers itself; main() is here. The id of a test is the row of the sheet that it shows; TEST_ROWS names the further
 * ones. SECTION says which section of which sheet has the rules that the tests after it show. A failed CHECK prints what it
 * saw and the test goes on; REQUIRE and SKIP leave the test. Descriptors given to keep() are closed after the test, newest
 * first. Arguments name the rows to run; --list prints "row sheet section title" for each, and runs nothing.
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
    const char *section, *rows, *title; /* rows: with spaces between them */
    void (*run)(void);
  } tests[256];
  int num_tests;
  const char* section; /* of the tests that come next */
  bool failed;
  char skip_reason[256];
  jmp_buf leave;
  int kept[256], num_kept;
} harness;

#define HARNESS_TEST(id, rows, title)                                            \
  static void test_##id(void);                                                   \
  __attribute__((constructor)) static void register_##id(void) {                 \
    const struct harness_test t = {harness.section, #id rows, title, test_##id}; \
    if (harness.num_tests < 256) harness.tests[harness.num_tests++] = t;         \
  }                                                                              \
  static void test_##id(void)
#define TEST(id, title) HARNESS_TEST(id, "", title)
#define TEST_ROWS(id, rows, title) HARNESS_TEST(id, " " rows, title)

#define HARNESS_JOIN_(a, b) a##b
#define HARNESS_JOIN(a, b) HARNESS_JOIN_(a, b)
#define SECTION(text)                                                                                            \
  __attribute__((constructor)) static void HARNESS_JOIN(section_at_, __LINE__)(void) { harness.section = text; } \
  _Static_assert(1, "takes the semicolon")

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
  return e == 0 ? "success" : e < 0 ? "a failure" : strerrorname_np(e) ? strerrorname_np(e) : "an unknown error";
}

static inline bool harness_err(const char* at, int line, const char* what, long got, int saw, int want) {
  const int e = got >= 0 ? 0 : saw ? saw : -1; /* -1: what failed was done before, and is only looked at here */
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

/* The next id of a list with spaces between them, or NULL. */
static const char* harness_next_row(const char* row) {
  const char* space = strchr(row, ' ');
  return space ? space + 1 : NULL;
}

static bool harness_has_row(const struct harness_test* t, const char* id) {
  for (const char* row = t->rows; row; row = harness_next_row(row))
    if (strcspn(row, " ") == strlen(id) && strncmp(row, id, strlen(id)) == 0) return true;
  return false;
}

static bool harness_wanted(const struct harness_test* t, int argc, char** argv) {
  for (int i = 1; i < argc; i++)
    if (harness_has_row(t, argv[i])) return true;
  return argc <= 1;
}

static int harness_list(void) {
  for (int i = 0; i < harness.num_tests; i++) {
    const struct harness_test* t = &harness.tests[i];
    for (const char* row = t->rows; row; row = harness_next_row(row))
      printf("%.*s %s %s\n", (int)strcspn(row, " "), row, t->section, t->title);
  }
  return 0;
}

static void harness_run(void (*run)(void)) {
  if (setjmp(harness.leave) == 0) run();
}

int main(int argc, char** argv) {
  int number = 0, failures = 0;
  if (argc == 2 && strcmp(argv[1], "--list") == 0) return harness_list();
  setvbuf(stdout, NULL, _IOLBF, 0);
  for (int i = 0; i < harness.num_tests; i++) {
    const struct harness_test* t = &harness.tests[i];
    if (!harness_wanted(t, argc, argv)) continue;
    harness.failed = false;
    harness.skip_reason[0] = 0;
    harness.num_kept = 0;
    harness_run(t->run);
    while (harness.num_kept > 0)
      if (harness.kept[--harness.num_kept] >= 0) close(harness.kept[harness.num_kept]);
    printf("%s %d - %s %s [%s]%s%s\n", harness.failed ? "not ok" : "ok", ++number, t->rows, t->title, t->section,
           harness.skip_reason[0] ? " # SKIP " : "", harness.skip_reason);
    failures += harness.failed;
  }
  printf("1..%d\n", number);
  if (number == 0) note("no such test");
  return failures != 0 || number == 0;
}

#endif
