/* Preloaded into the gate. It writes down how much of each write-ahead log has really reached the
 * disk, and makes the syncs of those logs lie or fail when it is told to.
 *
 *   SYNC_TRACE   the file to which "LENGTH PATH" is appended after each sync that succeeded
 *   SYNC_MODE    honest | lie (answer success, sync nothing) | fail (EIO) | fail-once (EIO, then
 *                lie: what a kernel does that drops the pages it could not write)
 *   SYNC_SPARED  so many syncs are honest first
 *   SYNC_STALL   a file: while it is there, syncs of *.audit do not return
 *
 * What counts is the length when the sync begins: what is written while it runs may be missing.
 * Nothing but fsync and fdatasync counts; what is made durable otherwise is cut, which is safe. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static atomic_long log_syncs;

static int has_suffix(int fd, const char *suffix, char *path, size_t size) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, size - 1);
  ssize_t suffixed = strlen(suffix);
  if (length < suffixed) return 0;
  path[length] = 0;
  return strcmp(path + length - suffixed, suffix) == 0;
}

static void note(const char *path, off_t length) {
  char line[4200];
  int size = snprintf(line, sizeof line, "%lld %s\n", (long long)length, path);
  int fd = open(getenv("SYNC_TRACE"), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0 || write(fd, line, size) != size) abort(); /* without a trace nothing is proved */
  close(fd);
}

static void stall(int fd) {
  char path[4096];
  const char *file = getenv("SYNC_STALL");
  if (!file || !*file || !has_suffix(fd, ".audit", path, sizeof path)) return;
  while (access(file, F_OK) == 0) usleep(1000);
}

static int sync_with(int fd, long call) {
  char path[4096];
  struct stat before;
  stall(fd);
  if (!has_suffix(fd, ".log", path, sizeof path)) return syscall(call, fd);
  const char *mode = getenv("SYNC_MODE");
  long misbehaves = atomic_fetch_add(&log_syncs, 1) - atol(getenv("SYNC_SPARED"));
  if (misbehaves >= 0 && strcmp(mode, "honest") != 0) {
    if (strcmp(mode, "lie") == 0) return 0;
    if (strcmp(mode, "fail-once") == 0 && misbehaves > 0) return 0;
    errno = EIO;
    return -1;
  }
  if (fstat(fd, &before) != 0) return -1;
  int result = syscall(call, fd);
  if (result == 0) note(path, before.st_size);
  return result;
}

int fsync(int fd) { return sync_with(fd, SYS_fsync); }
int fdatasync(int fd) { return sync_with(fd, SYS_fdatasync); }
