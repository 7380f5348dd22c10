/* A disk that can be followed write by write, between a program and the C library.
 *
 * Every change of a file below $DISK_FOLDER is written to $DISK_LOG before the program goes on:
 * what was opened, written, cut, synced and deleted, in the order in which it happened. What a
 * power cut would have left is worked out from that, see disk.rs. After $DISK_CUT changes the
 * program is killed, which is the moment of the cut.
 *
 * An entry is five numbers of 64 bits (what, file, offset, size, 0) and then so many bytes.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { OPENED = 1, WRITTEN, CUT, SYNCED, DELETED, FOLDER_SYNCED };
enum { FILES = 65536, NONE = 0, FOLDER = -1 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char folder[PATH_MAX];
static size_t folder_size;
static int log_file = -1;
static long changes_left = -1;
static int64_t next_file = 1;
/* The number of the file behind a descriptor. */
static int64_t files[FILES];

static int (*real_open)(const char *, int, ...);
static int (*real_openat)(int, const char *, int, ...);
static int (*real_close)(int);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off64_t);
static int (*real_truncate)(int, off64_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_unlink)(const char *);

__attribute__((constructor)) static void begin(void) {
    real_open = dlsym(RTLD_NEXT, "open64");
    real_openat = dlsym(RTLD_NEXT, "openat64");
    real_close = dlsym(RTLD_NEXT, "close");
    real_write = dlsym(RTLD_NEXT, "write");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_truncate = dlsym(RTLD_NEXT, "ftruncate64");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_unlink = dlsym(RTLD_NEXT, "unlink");
    const char *where = getenv("DISK_FOLDER"), *log = getenv("DISK_LOG"), *cut = getenv("DISK_CUT");
    if (!where || !log) return;
    snprintf(folder, sizeof folder, "%s", where);
    folder_size = strlen(folder);
    if (cut) changes_left = atol(cut);
    log_file = real_open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log_file < 0) abort();
}

/* Held by the caller: the lock. Nothing of the program goes on without its entry. */
static void note(int64_t what, int64_t file, int64_t offset, const void *bytes, size_t size) {
    int64_t head[5] = {what, file, offset, (int64_t)size, 0};
    struct iovec parts[2] = {{head, sizeof head}, {(void *)bytes, size}};
    if (writev(log_file, parts, size ? 2 : 1) != (ssize_t)(sizeof head + size)) abort();
    if (0 < changes_left && --changes_left == 0) {
        kill(getpid(), SIGKILL);
        for (;;) pause();
    }
}

static const char *followed(const char *path) {
    if (log_file < 0 || strncmp(path, folder, folder_size) || path[folder_size] != '/') return NULL;
    const char *name = path + folder_size + 1;
    size_t size = strlen(name);
    /* Shared memory and the lock hold nothing that outlives the program. */
    if (4 < size && !strcmp(name + size - 4, "-shm")) return NULL;
    if (5 < size && !strcmp(name + size - 5, ".lock")) return NULL;
    return name;
}

static int opened(int descriptor, const char *path, int flags) {
    if (descriptor < 0 || FILES <= descriptor || log_file < 0) return descriptor;
    const char *name = followed(path);
    int is_folder = !strcmp(path, folder);
    int is_changed = name && (flags & O_ACCMODE) != O_RDONLY;
    pthread_mutex_lock(&lock);
    files[descriptor] = is_folder ? FOLDER : NONE;
    if (is_changed) {
        files[descriptor] = next_file++;
        note(OPENED, files[descriptor], !!(flags & O_TRUNC), name, strlen(name));
    }
    pthread_mutex_unlock(&lock);
    return descriptor;
}

#define MODE(flags)                             \
    mode_t mode = 0;                            \
    if (flags & (O_CREAT | __O_TMPFILE)) {      \
        va_list more;                           \
        va_start(more, flags);                  \
        mode = va_arg(more, mode_t);            \
        va_end(more);                           \
    }

int open(const char *path, int flags, ...) {
    MODE(flags)
    return opened(real_open(path, flags, mode), path, flags);
}

int open64(const char *path, int flags, ...) {
    MODE(flags)
    return opened(real_open(path, flags, mode), path, flags);
}

int openat(int at, const char *path, int flags, ...) {
    MODE(flags)
    return opened(real_openat(at, path, flags, mode), path, flags);
}

int openat64(int at, const char *path, int flags, ...) {
    MODE(flags)
    return opened(real_openat(at, path, flags, mode), path, flags);
}

int close(int descriptor) {
    if (0 <= descriptor && descriptor < FILES) files[descriptor] = NONE;
    return real_close(descriptor);
}

static int64_t file_of(int descriptor) {
    return 0 <= descriptor && descriptor < FILES ? files[descriptor] : NONE;
}

static ssize_t pwrite_followed(int descriptor, const void *bytes, size_t size, off64_t offset) {
    pthread_mutex_lock(&lock);
    ssize_t count = real_pwrite(descriptor, bytes, size, offset);
    if (0 < count) note(WRITTEN, file_of(descriptor), offset, bytes, (size_t)count);
    pthread_mutex_unlock(&lock);
    return count;
}

ssize_t pwrite(int descriptor, const void *bytes, size_t size, off_t offset) {
    if (file_of(descriptor) > 0) return pwrite_followed(descriptor, bytes, size, offset);
    return real_pwrite(descriptor, bytes, size, offset);
}

ssize_t pwrite64(int descriptor, const void *bytes, size_t size, off64_t offset) {
    if (file_of(descriptor) > 0) return pwrite_followed(descriptor, bytes, size, offset);
    return real_pwrite(descriptor, bytes, size, offset);
}

ssize_t write(int descriptor, const void *bytes, size_t size) {
    if (!real_write) real_write = dlsym(RTLD_NEXT, "write");
    int64_t file = file_of(descriptor);
    if (file <= 0) return real_write(descriptor, bytes, size);
    pthread_mutex_lock(&lock);
    int flags = fcntl(descriptor, F_GETFL);
    off64_t offset = lseek64(descriptor, 0, flags & O_APPEND ? SEEK_END : SEEK_CUR);
    ssize_t count = real_write(descriptor, bytes, size);
    if (0 < count) note(WRITTEN, file, offset, bytes, (size_t)count);
    pthread_mutex_unlock(&lock);
    return count;
}

static int truncate_followed(int descriptor, off64_t size) {
    int64_t file = file_of(descriptor);
    if (file <= 0) return real_truncate(descriptor, size);
    pthread_mutex_lock(&lock);
    int result = real_truncate(descriptor, size);
    if (result == 0) note(CUT, file, size, NULL, 0);
    pthread_mutex_unlock(&lock);
    return result;
}

int ftruncate(int descriptor, off_t size) { return truncate_followed(descriptor, size); }
int ftruncate64(int descriptor, off64_t size) { return truncate_followed(descriptor, size); }

/* The disk is followed, not waited for: the entry is what makes it durable here. */
static int sync_followed(int descriptor, int (*real)(int)) {
    int64_t file = file_of(descriptor);
    if (file == NONE) return real(descriptor);
    pthread_mutex_lock(&lock);
    note(file == FOLDER ? FOLDER_SYNCED : SYNCED, file, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    return 0;
}

int fsync(int descriptor) { return sync_followed(descriptor, real_fsync); }
int fdatasync(int descriptor) { return sync_followed(descriptor, real_fdatasync); }

int unlink(const char *path) {
    const char *name = followed(path);
    if (!name) return real_unlink(path);
    pthread_mutex_lock(&lock);
    int result = real_unlink(path);
    if (result == 0) note(DELETED, 0, 0, name, strlen(name));
    pthread_mutex_unlock(&lock);
    return result;
}
