/* A disk that can be made to fail: put before a process with LD_PRELOAD.
 *
 * Below the directory SOJOURN_DISK_UNDER every operation that changes a file is written to the log SOJOURN_DISK_LOG, with
 * the time just before it began, so that a reader can build what a disk may hold after a power loss at any moment
 * (disk.py). The control block, a small file that the test maps as well, makes operations fail with an errno, kills the
 * process at a chosen operation, and moves the wall clock.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { CREATE = 1, OPEN, WRITE, TRUNCATE, SYNC, RENAME, UNLINK, MKDIR, CLOSE };
#define MOST_FILES 65536

struct control {         /* disk.py: Control */
  int32_t write_errno;   /* what writes, renames, new files fail with; 0 = they work */
  int32_t sync_errno;    /* what syncs fail with */
  int32_t kill_in;       /* > 0: SIGKILL before the kill_in-th operation from now that kill_on names */
  int32_t kill_on;       /* a set of kinds, one bit each */
  int64_t clock_ns;      /* added to the wall clock */
  int32_t sync_delay_ms; /* how long a sync takes more */
  int32_t spare;
};

struct entry { int64_t at_ns; int32_t kind, file; int64_t offset; int32_t name_bytes, data_bytes; };

static struct control idle, *control = &idle;
static const char *under;
static size_t under_bytes;
static int log_file = -1;
static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
static unsigned char watched[MOST_FILES];

#define REAL(name) ((__typeof__(&name))real(#name))
static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

__attribute__((constructor)) static void begin(void) {
  const char *log_path = getenv("SOJOURN_DISK_LOG"), *control_path = getenv("SOJOURN_DISK_CONTROL");
  under = getenv("SOJOURN_DISK_UNDER");
  if (!under || !control_path) { under = NULL; return; }
  under_bytes = strlen(under);
  if (log_path) log_file = syscall(SYS_openat, AT_FDCWD, log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  int fd = syscall(SYS_openat, AT_FDCWD, control_path, O_RDWR | O_CLOEXEC, 0);
  void *block = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (block != MAP_FAILED) control = block;
}

static int is_watched(int fd) { return fd >= 0 && fd < MOST_FILES && watched[fd]; }
static int is_under(const char *path) { return under && path && !strncmp(path, under, under_bytes); }

static void tell(int kind, int file, int64_t offset, const char *name, const void *data, size_t data_bytes) {
  if (control->kill_in > 0 && control->kill_on >> kind & 1 && --control->kill_in == 0) kill(getpid(), SIGKILL);
  if (log_file < 0) return;
  struct timespec now;
  syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
  struct entry entry = {now.tv_sec * 1000000000LL + now.tv_nsec, kind, file, offset, name ? strlen(name) : 0, data_bytes};
  size_t total = sizeof entry + entry.name_bytes + data_bytes;
  char *bytes = malloc(total);
  memcpy(bytes, &entry, sizeof entry);
  if (name) memcpy(bytes + sizeof entry, name, entry.name_bytes);
  if (data_bytes) memcpy(bytes + sizeof entry + entry.name_bytes, data, data_bytes);
  if (syscall(SYS_write, log_file, bytes, total) != (ssize_t)total) abort();
  free(bytes);
}

#define FAIL_WITH(error) do { if (error) { pthread_mutex_unlock(&one_at_a_time); errno = (error); return -1; } } while (0)
#define LOCKED(call) __extension__ ({ __typeof__(call) result = (call); pthread_mutex_unlock(&one_at_a_time); result; })

static int open_as(int directory, const char *path, int flags, mode_t mode) {
  if (!is_under(path)) return syscall(SYS_openat, directory, path, flags, mode);
  pthread_mutex_lock(&one_at_a_time);
  int is_new = (flags & O_CREAT) && access(path, F_OK);
  if (is_new || (flags & O_TRUNC)) FAIL_WITH(control->write_errno);
  int fd = syscall(SYS_openat, directory, path, flags, mode);
  if (fd >= 0 && fd < MOST_FILES) {
    watched[fd] = 1;
    tell(is_new ? CREATE : OPEN, fd, flags & O_TRUNC, path, NULL, 0);
  }
  pthread_mutex_unlock(&one_at_a_time);
  return fd;
}

#define MODE(flags, mode) mode_t mode = 0; \
  if ((flags) & (O_CREAT | O_TMPFILE)) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); }
int open(const char *path, int flags, ...) { MODE(flags, mode) return open_as(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags, mode) return open_as(AT_FDCWD, path, flags | O_LARGEFILE, mode); }
int openat(int at, const char *path, int flags, ...) { MODE(flags, mode) return open_as(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE(flags, mode) return open_as(at, path, flags, mode); }

int close(int fd) {
  if (!is_watched(fd)) return syscall(SYS_close, fd);
  pthread_mutex_lock(&one_at_a_time);
  watched[fd] = 0;
  tell(CLOSE, fd, 0, NULL, NULL, 0);
  return LOCKED(syscall(SYS_close, fd));
}

static ssize_t write_at(int fd, const void *data, size_t bytes, off_t offset, int moves) {
  pthread_mutex_lock(&one_at_a_time);
  FAIL_WITH(control->write_errno);
  tell(WRITE, fd, moves ? lseek(fd, 0, SEEK_CUR) : offset, NULL, data, bytes);
  return LOCKED(moves ? syscall(SYS_write, fd, data, bytes) : syscall(SYS_pwrite64, fd, data, bytes, offset));
}

ssize_t write(int fd, const void *data, size_t bytes) {
  return is_watched(fd) ? write_at(fd, data, bytes, 0, 1) : syscall(SYS_write, fd, data, bytes);
}
ssize_t pwrite(int fd, const void *data, size_t bytes, off_t offset) {
  return is_watched(fd) ? write_at(fd, data, bytes, offset, 0) : syscall(SYS_pwrite64, fd, data, bytes, offset);
}
ssize_t pwrite64(int fd, const void *data, size_t bytes, off64_t offset) { return pwrite(fd, data, bytes, offset); }

int ftruncate(int fd, off_t size) {
  if (!is_watched(fd)) return syscall(SYS_ftruncate, fd, size);
  pthread_mutex_lock(&one_at_a_time);
  FAIL_WITH(control->write_errno);
  tell(TRUNCATE, fd, size, NULL, NULL, 0);
  return LOCKED(syscall(SYS_ftruncate, fd, size));
}
int ftruncate64(int fd, off64_t size) { return ftruncate(fd, size); }

static int synced(int fd, long call) {
  if (!is_watched(fd)) return syscall(call, fd);
  if (control->sync_delay_ms) usleep(1000 * control->sync_delay_ms);
  pthread_mutex_lock(&one_at_a_time);
  FAIL_WITH(control->sync_errno);
  tell(SYNC, fd, 0, NULL, NULL, 0);
  return LOCKED(0); /* the process cannot tell, and only this log decides what a power loss leaves */
}
int fsync(int fd) { return synced(fd, SYS_fsync); }
int fdatasync(int fd) { return synced(fd, SYS_fdatasync); }

int rename(const char *from, const char *to) {
  if (!is_under(to)) return REAL(rename)(from, to);
  pthread_mutex_lock(&one_at_a_time);
  FAIL_WITH(control->write_errno);
  tell(RENAME, -1, 0, from, to, strlen(to));
  return LOCKED(REAL(rename)(from, to));
}

int unlink(const char *path) {
  if (!is_under(path)) return REAL(unlink)(path);
  pthread_mutex_lock(&one_at_a_time);
  int error = REAL(unlink)(path);
  if (!error) tell(UNLINK, -1, 0, path, NULL, 0);
  pthread_mutex_unlock(&one_at_a_time);
  return error;
}

int mkdir(const char *path, mode_t mode) {
  if (!is_under(path)) return REAL(mkdir)(path, mode);
  pthread_mutex_lock(&one_at_a_time);
  FAIL_WITH(control->write_errno);
  int error = REAL(mkdir)(path, mode);
  if (!error) tell(MKDIR, -1, 0, path, NULL, 0);
  pthread_mutex_unlock(&one_at_a_time);
  return error;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  int error = syscall(SYS_clock_gettime, clock, now);
  if (!error && clock == CLOCK_REALTIME && control->clock_ns) {
    int64_t ns = now->tv_sec * 1000000000LL + now->tv_nsec + control->clock_ns;
    now->tv_sec = ns / 1000000000LL;
    now->tv_nsec = ns % 1000000000LL;
  }
  return error;
}
