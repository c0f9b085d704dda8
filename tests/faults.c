/* Counts what a process changes in one folder, and makes one of these operations fail, kill, or report.
 *
 * Loaded by LD_PRELOAD before libc, whose functions it wraps: the creation of files and folders, writes, renames,
 * changes of length, and fsync. `faults_arm` selects the folder and the operation, counted from 1.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { NONE, FAIL, FAIL_FROM_HERE_ON, SHORT, KILL, REPORT };

static char folder[PATH_MAX];
static atomic_long count;
static long chosen;
static int mode, error_number, report_to = -1;

void faults_arm(const char *where, int what, long operation, int error, int descriptor) {
	snprintf(folder, sizeof folder, "%s", where);
	mode = what, chosen = operation, error_number = error, report_to = descriptor;
	atomic_store(&count, 0);
}

long faults_count(void) { return atomic_load(&count); }

static int inside(const char *path) {
	/* The process works in the folder, so relative paths are inside. */
	return folder[0] && path && (path[0] != '/' || strncmp(path, folder, strlen(folder)) == 0);
}

/* What exists is not created. */
static int creates(int at, const char *path) { return inside(path) && faccessat(at, path, F_OK, 0) != 0; }

static int inside_file(int descriptor) {
	char link[64], path[PATH_MAX];
	if (!folder[0]) return 0;
	snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
	ssize_t length = readlink(link, path, sizeof path - 1);
	if (length <= 0) return 0;
	path[length] = 0;
	return path[0] == '/' && inside(path);
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* Whether the operation fails. Of a write with SHORT, the first half succeeds and the next operation fails. */
static int fails(int is_write, int *halved) {
	long number = atomic_fetch_add(&count, 1) + 1;
	if (mode == REPORT && number == chosen) NEXT(write)(report_to, "!", 1);
	if (mode == KILL && number == chosen && !is_write) kill(getpid(), SIGKILL);
	*halved = (mode == SHORT || mode == KILL) && number == chosen && is_write;
	int failed = (mode == FAIL && number == chosen) || (mode == FAIL_FROM_HERE_ON && number >= chosen) ||
	             (mode == SHORT && number == chosen + !!is_write);
	if (failed) errno = error_number;
	return failed;
}

static ssize_t after(ssize_t result) {
	if (mode == KILL) kill(getpid(), SIGKILL);
	return result;
}

#define WRAP_WRITE(name, parameters, half, whole)                                        \
	ssize_t name parameters {                                                            \
		int halved = 0;                                                                  \
		if (inside_file(fd) && fails(1, &halved)) return -1;                             \
		return halved ? after(NEXT(name) half) : NEXT(name) whole;                       \
	}

WRAP_WRITE(write, (int fd, const void *data, size_t n), (fd, data, (n + 1) / 2), (fd, data, n))
WRAP_WRITE(pwrite, (int fd, const void *data, size_t n, off_t at), (fd, data, (n + 1) / 2, at), (fd, data, n, at))
WRAP_WRITE(pwrite64, (int fd, const void *data, size_t n, off64_t at), (fd, data, (n + 1) / 2, at), (fd, data, n, at))
WRAP_WRITE(writev, (int fd, const struct iovec *parts, int n), (fd, parts, (n + 1) / 2), (fd, parts, n))
WRAP_WRITE(sendfile, (int fd, int from, off_t *at, size_t n), (fd, from, at, (n + 1) / 2), (fd, from, at, n))
WRAP_WRITE(sendfile64, (int fd, int from, off64_t *at, size_t n), (fd, from, at, (n + 1) / 2), (fd, from, at, n))

#define WRAP(name, condition, parameters, arguments)                                     \
	int name parameters {                                                                \
		int halved;                                                                      \
		return (condition) && fails(0, &halved) ? -1 : NEXT(name) arguments;             \
	}

WRAP(rename, inside(to), (const char *from, const char *to), (from, to))
WRAP(renameat, inside(to), (int a, const char *from, int b, const char *to), (a, from, b, to))
WRAP(mkdir, creates(AT_FDCWD, path), (const char *path, mode_t rights), (path, rights))
WRAP(fsync, inside_file(fd), (int fd), (fd))
WRAP(fdatasync, inside_file(fd), (int fd), (fd))
WRAP(ftruncate, inside_file(fd), (int fd, off_t length), (fd, length))
WRAP(ftruncate64, inside_file(fd), (int fd, off64_t length), (fd, length))

#define WRAP_OPEN(name, at, parameters, arguments)                                       \
	int name parameters {                                                                \
		mode_t rights = 0;                                                               \
		int halved;                                                                      \
		if (flags & (O_CREAT | __O_TMPFILE)) {                                           \
			va_list rest;                                                                \
			va_start(rest, flags);                                                       \
			rights = va_arg(rest, mode_t);                                               \
			va_end(rest);                                                                \
			if (creates(at, path) && fails(0, &halved)) return -1;                       \
		}                                                                                \
		return NEXT(name) arguments;                                                     \
	}

WRAP_OPEN(open, AT_FDCWD, (const char *path, int flags, ...), (path, flags, rights))
WRAP_OPEN(open64, AT_FDCWD, (const char *path, int flags, ...), (path, flags, rights))
WRAP_OPEN(openat, folder_of, (int folder_of, const char *path, int flags, ...), (folder_of, path, flags, rights))
WRAP_OPEN(openat64, folder_of, (int folder_of, const char *path, int flags, ...), (folder_of, path, flags, rights))
