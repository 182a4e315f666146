/* SPDX-License-Identifier: BSD-3-Clause */
/* Stores into a mapped region that are trapped one by one: each is counted, and done before the next instruction; all else goes on as if
 * nobody watched. With the argument "polled": the process is traced by somebody else, and the region works as memory. */
#define _GNU_SOURCE
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

#include "tests/transport/clients/check.h"

#define PAGE 4096

static int g_device;
static volatile uint8_t* g_region;

static struct echo_stores stores(void) {
  struct echo_stores s;
  CHECK(ioctl(g_device, ECHO_STORES, &s) >= 0);
  return s;
}

static volatile uint8_t* map_region(int prot) {
  void* p = mmap(NULL, 4 * PAGE, prot, MAP_SHARED, g_device, ECHO_REGION0);
  CHECK(p != MAP_FAILED);
  return p;
}

static void store4(volatile void* at, uint32_t value) {
  __asm__ volatile("movl %1, (%0)" ::"r"(at), "r"(value) : "memory");
}

/* One instruction, one store of that kind, which memory shows at once. */
#define STORES(at, bytes, expected, ...)                                    \
  do {                                                                      \
    const struct echo_stores before_ = stores();                            \
    __asm__ volatile(__VA_ARGS__);                                          \
    uint64_t seen_ = 0;                                                     \
    memcpy(&seen_, (const void*)(at), bytes);                               \
    const struct echo_stores after_ = stores();                             \
    CHECK(after_.count == before_.count + 1);                               \
    CHECK(after_.looks == before_.looks);                                   \
    CHECK(after_.offset == (uint64_t)((volatile uint8_t*)(at) - g_region)); \
    CHECK(after_.size == (bytes));                                          \
    CHECK(after_.value == (expected));                                      \
    CHECK(seen_ == (expected));                                             \
  } while (0)

static void check_forms(void) {
  volatile uint8_t* at = g_region + 0x40;
  const uint64_t v = 0x8182838485868788;
  STORES(at, 1, 0x88, "movb %b1, (%0)" ::"r"(at), "q"(v) : "memory");
  STORES(at, 1, 0x87, "movb %h1, (%0)" ::"b"(at), "a"(v) : "memory");
  STORES(at, 1, 0x88, "movb %b1, (%0)" ::"a"(at), "S"(v) : "memory");
  STORES(at, 2, 0x8788, "movw %w1, (%0)" ::"r"(at), "r"(v) : "memory");
  STORES(at, 4, 0x85868788, "movl %k1, (%0)" ::"r"(at), "r"(v) : "memory");
  STORES(at, 8, v, "movq %1, (%0)" ::"r"(at), "r"(v) : "memory");
  STORES(at, 8, v, "movnti %1, (%0)" ::"r"(at), "r"(v) : "memory");
  STORES(at, 1, 0xfe, "movb $0xfe, (%0)" ::"r"(at) : "memory");
  STORES(at, 2, 0xfedc, "movw $0xfedc, (%0)" ::"r"(at) : "memory");
  STORES(at, 4, 0xfedcba98, "movl $0xfedcba98, (%0)" ::"r"(at) : "memory");
  STORES(at, 8, 0xfffffffffffffffe, "movq $-2, (%0)" ::"r"(at) : "memory");
  STORES(at + 24, 4, 0x85868788, "movl %k1, 8(%0,%2,4)" ::"r"(at), "r"(v), "r"(4ul) : "memory");
  register uint64_t r12 __asm__("r12") = v;
  register volatile uint8_t* r13 __asm__("r13") = at;
  STORES(at, 8, v, "movq %1, (%0)" ::"r"(r13), "r"(r12) : "memory");
}

static void check_exchange(void) {
  volatile uint8_t* at = g_region + 0x80;
  store4(at, 0x11223344);
  uint64_t v = 0xffffffff55667788;
  STORES(at, 4, 0x55667788, "xchgl %k0, (%1)" : "+r"(v) : "r"(at) : "memory");
  CHECK(v == 0x11223344); /* the upper half is cleared */
}

/* What the processor does itself: the device looks afterwards, and the next store is trapped again. */
static void check_others(void) {
  volatile uint8_t* at = g_region + 0x100;
  uint8_t source[64];
  for (unsigned i = 0; i < sizeof(source); i++) source[i] = (uint8_t)(i + 1);
  store4(at, 0x0f);
  const struct echo_stores before = stores();
  __asm__ volatile("lock orl $0xf0, (%0)" ::"r"(at) : "memory", "cc");
  CHECK(*(volatile uint32_t*)at == 0xff);
  void *to = (void*)at, *from = source;
  size_t count = sizeof(source);
  __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count)::"memory");
  CHECK(count == 0 && to == (void*)(at + sizeof(source)) && memcmp((void*)at, source, sizeof(source)) == 0);
  __asm__ volatile("movdqu (%1), %%xmm1; movdqu %%xmm1, 16(%0)" ::"r"(at), "r"(source) : "memory", "xmm1");
  CHECK(memcmp((void*)(at + 16), source, 16) == 0);
  struct echo_stores after = stores();
  CHECK(after.count == before.count && after.looks == before.looks + 3);
  store4(at, 1);
  after = stores();
  CHECK(after.count == before.count + 1 && after.looks == before.looks + 3);
}

enum { PER_THREAD = 2000, THREADS = 4 };

static void* store_many(void* at) {
  for (int i = 0; i < PER_THREAD; i++) {
    store4(at, 7); /* the same value: a look at memory could not tell */
    CHECK(*(volatile uint32_t*)at == 7);
  }
  return NULL;
}

static void start_and_join(void) {
  pthread_t threads[THREADS];
  for (int i = 0; i < THREADS; i++)
    CHECK(pthread_create(&threads[i], NULL, store_many, (void*)(g_region + 0x200 + 8 * i)) == 0);
  for (int i = 0; i < THREADS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
}

static void check_threads(void) {
  const uint64_t before = stores().count;
  start_and_join();
  CHECK(stores().count == before + THREADS * PER_THREAD);
}

/* A child, and threads of a child. Its parent sees its stops and its end as ever. */
static void check_fork(void) {
  const uint64_t before = stores().count;
  const pid_t child = fork();
  if (child == 0) {
    store_many((void*)(g_region + 0x300));
    raise(SIGSTOP);
    start_and_join();
    _exit(43);
  }
  int status;
  CHECK(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
  CHECK(stores().count == before + PER_THREAD);
  CHECK(kill(child, SIGCONT) == 0);
  CHECK(waitpid(child, &status, WCONTINUED) == child && WIFCONTINUED(status));
  CHECK(wait_for(child) == 43);
  CHECK(stores().count == before + (THREADS + 1) * PER_THREAD);
}

static void check_killed_child(void) {
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGSEGV, SIG_DFL);
    store4(g_region, 1);
    store4(NULL, 1);
    _exit(1);
  }
  CHECK(wait_for(child) == 128 + SIGSEGV);
  const pid_t other = fork();
  if (other == 0)
    for (;;) store4(g_region, 1);
  nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
  CHECK(kill(other, SIGKILL) == 0);
  CHECK(wait_for(other) == 128 + SIGKILL);
}

/* A new program is nobody's any more. */
static void check_exec(const char* self) {
  const pid_t child = fork();
  if (child == 0) {
    store4(g_region, 1);
    execl(self, self, "untraced", NULL);
    _exit(1);
  }
  CHECK(wait_for(child) == 0);
  const pid_t spawned = vfork();
  if (spawned == 0) {
    execl(self, self, "untraced", NULL);
    _exit(1);
  }
  CHECK(wait_for(spawned) == 0);
}

static int check_untraced(void) {
  char text[4096] = "";
  FILE* f = fopen("/proc/self/status", "re");
  CHECK(f != NULL && fread(text, 1, sizeof(text) - 1, f) > 0);
  CHECK(strstr(text, "\nTracerPid:\t0\n"));
  return 0;
}

static volatile sig_atomic_t g_alarms;
static void on_alarm(int signal) {
  (void)signal;
  g_alarms++;
  store4(g_region + 0x400, 9); /* in a handler, too */
}

static void check_signals(void) {
  struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
  CHECK(sigaction(SIGALRM, &action, NULL) == 0);
  const uint64_t before = stores().count;
  const struct itimerval often = {{0, 300}, {0, 300}}, never = {{0, 0}, {0, 0}};
  CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
  uint64_t done = 0;
  for (int round = 0; round < 500 && g_alarms < 200; round++, done += PER_THREAD) store_many((void*)(g_region + 0x408));
  CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
  CHECK(g_alarms >= 200);
  CHECK(stores().count == before + done + (uint64_t)g_alarms);
  for (int i = 0; i < 20; i++) check_others(); /* and once more with nothing in flight */
}

/* The storm goes on while instructions are stepped over. */
static void check_steps_and_signals(void) {
  const struct itimerval often = {{0, 500}, {0, 500}}, never = {{0, 0}, {0, 0}};
  volatile uint8_t* at = g_region + 0x500;
  uint8_t source[64];
  memset(source, 5, sizeof(source));
  const int alarms = g_alarms;
  CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
  for (int i = 0; i < 200 || (g_alarms == alarms && i < 100000); i++) {
    void *to = (void*)at, *from = source;
    size_t count = sizeof(source);
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count)::"memory");
    CHECK(count == 0 && memcmp((void*)at, source, sizeof(source)) == 0);
  }
  CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
  CHECK(g_alarms > alarms);
}

/* Stopped and continued from outside, in the middle of stores and steps. */
static void check_stops(void) {
  atomic_bool* end = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(end != MAP_FAILED);
  const pid_t child = fork();
  if (child == 0) {
    while (!atomic_load(end)) {
      store4(g_region + 0x600, 1);
      __asm__ volatile("lock incl (%0)" ::"r"(g_region + 0x608) : "memory", "cc");
    }
    _exit(44);
  }
  for (int i = 0; i < 50; i++) {
    int status;
    CHECK(kill(child, SIGSTOP) == 0);
    CHECK(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
    CHECK(kill(child, SIGCONT) == 0);
    nanosleep(&(struct timespec){.tv_nsec = 300000}, NULL);
  }
  atomic_store(end, true);
  CHECK(wait_for(child) == 44);
  CHECK(munmap(end, PAGE) == 0);
}

static sigjmp_buf g_back;
static siginfo_t g_fault;
static void on_fault(int signal, siginfo_t* info, void* context) {
  (void)signal;
  (void)context;
  g_fault = *info;
  siglongjmp(g_back, 1);
}

#define FAULTS(address, code, ...)                                           \
  do {                                                                       \
    if (sigsetjmp(g_back, 1) == 0) {                                         \
      __VA_ARGS__;                                                           \
      CHECK(!"no fault");                                                    \
    }                                                                        \
    CHECK(g_fault.si_code == (code) && g_fault.si_addr == (void*)(address)); \
  } while (0)

static void check_own_faults(void) {
  struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO}, before;
  CHECK(sigaction(SIGSEGV, &action, &before) == 0);
  uint8_t* page = mmap(NULL, 2 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(page != MAP_FAILED && munmap(page + PAGE, PAGE) == 0);
  FAULTS(page + 8, SEGV_ACCERR, store4(page + 8, 1));
  FAULTS(page + PAGE, SEGV_MAPERR, store4(page + PAGE, 1));
  /* The instruction faults elsewhere: at its source, with the first bytes done. */
  const uint64_t looks = stores().looks;
  FAULTS(page + PAGE, SEGV_MAPERR, {
    void *to = (void*)(g_region + 0x700), *from = page + PAGE - 4;
    size_t count = 8;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count)::"memory");
  });
  CHECK(stores().looks == looks + 1);
  const uint64_t count = stores().count;
  store4(g_region, 1);
  CHECK(stores().count == count + 1);
  /* Another fault later has its handler, with signals as they were. */
  sigset_t mask;
  CHECK(sigprocmask(SIG_SETMASK, NULL, &mask) == 0 && !sigismember(&mask, SIGALRM));
  FAULTS(page, SEGV_ACCERR, store4(page, 1));
  CHECK(munmap(page, PAGE) == 0);
  CHECK(sigaction(SIGSEGV, &before, NULL) == 0);
}

/* The mapping goes elsewhere, there is a second one, and what it leaves behind is anybody's. */
static void check_mappings(void) {
  volatile uint8_t* second = map_region(PROT_READ | PROT_WRITE);
  uint64_t count = stores().count;
  store4(second + 0x10, 0xabcd);
  CHECK(stores().count == count + 1 && stores().offset == 0x10 && *(volatile uint32_t*)(g_region + 0x10) == 0xabcd);
  void* room = mmap(NULL, 4 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(room != MAP_FAILED);
  volatile uint8_t* moved = mremap((void*)second, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, room);
  CHECK(moved == room);
  store4(moved + 0x1014, 0xabce);
  CHECK(stores().count == count + 2 && stores().offset == 0x1014);
  CHECK(munmap((void*)moved, PAGE) == 0);
  store4(moved + 0x1014, 0xabcf);
  CHECK(stores().count == count + 3 && stores().offset == 0x1014);
  /* Made writable by the client: memory, as if polled. */
  CHECK(mprotect((void*)(moved + PAGE), PAGE, PROT_READ | PROT_WRITE) == 0);
  store4(moved + 0x1014, 0xabd0);
  CHECK(stores().count == count + 3 && *(volatile uint32_t*)(g_region + 0x1014) == 0xabd0);
  CHECK(munmap((void*)(moved + PAGE), 3 * PAGE) == 0);
}

/* What cannot be mapped is refused as ever. */
static void check_refusals(void) {
  CHECK(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, g_device, ECHO_REGION0 + ECHO_REGION0_SIZE) == MAP_FAILED);
  CHECK(mmap((void*)g_region, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED_NOREPLACE, g_device, ECHO_REGION0) ==
            MAP_FAILED &&
        errno == EEXIST);
}

int main(int argc, char** argv) {
  if (argc > 1 && strcmp(argv[1], "untraced") == 0) return check_untraced();
  g_device = open_device();
  CHECK(ioctl(g_device, ECHO_TRAP, 1) == 0);
  /* Threads that are there before: they are watched, too. */
  pthread_t early;
  CHECK(pthread_create(&early, NULL, (void* (*)(void*))(void*)pause, NULL) == 0);
  g_region = map_region(PROT_READ | PROT_WRITE);
  if (argc > 1) {
    store4(g_region + 4, 0x1234);
    CHECK(*(volatile uint32_t*)(g_region + 4) == 0x1234);
    CHECK(stores().count == 0);
    return 0;
  }
  check_forms();
  check_exchange();
  check_others();
  check_threads();
  check_fork();
  check_killed_child();
  check_exec(argv[0]);
  check_own_faults();
  check_signals();
  check_steps_and_signals();
  check_stops();
  check_mappings();
  check_refusals();
  return 0;
}
