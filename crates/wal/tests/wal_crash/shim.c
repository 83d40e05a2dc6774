/* Logs what a process does to the files below one directory, in order, so that a test can build what a power cut would have left
 * of them. Preloaded into a child of the tests; `trace.rs` reads the log, `disk.rs` knows what it means.
 *
 *   SHIM_ROOT   the directory, absolute; RocksDB's LOG and LOCK files, which say nothing that counts, are left out
 *   SHIM_TRACE  the log, appended to; without it nothing is logged and nothing synced (what is checked is thrown away afterwards)
 *   SHIM_NOTES  a path: what is written there becomes a note in the log, in order with everything else
 *   SHIM_KILL   kill -9 this process once it has logged so many records; a note "kill" does so at once
 *   SHIM_FAIL   "sync:<n>:<errno>": the n-th sync fails, once; "write:<n>:<errno>": the n-th write is cut short, and all later
 *               ones fail. With ":noted" behind it, those after a note "fail" are counted
 *
 * An operation and its record happen under one lock, so the order of records is the order of effects. A sync has two records, one
 * before and one after: only what was logged before the first is durable after the second. Calls the model does not know are logged
 * as such, and the test fails instead of being wrong.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

struct record {
    uint8_t op;
    uint8_t zero;
    uint16_t path_len, other_len;
    int32_t fd, other_fd;
    int64_t a, b;
    uint32_t data_len;
} __attribute__((packed));

enum { MAX_FD = 1 << 16, FILES = 1, NOTES = 2 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int trace = -1;
static int active;
static const char *root, *notes;
static size_t root_len;
static long kill_after, logged, syncs, writes;
static long fail_sync, fail_write, noted_sync, noted_write;
static int fail_errno;
static unsigned char tracked[MAX_FD];

static void die(const char *what)
{
    fprintf(stderr, "shim: %s: %s\n", what, strerror(errno));
    abort();
}

__attribute__((constructor)) static void start(void)
{
    const char *path = getenv("SHIM_TRACE"), *fail = getenv("SHIM_FAIL"), *after = getenv("SHIM_KILL");
    struct record begin = {.op = 'P'};
    root = getenv("SHIM_ROOT");
    notes = getenv("SHIM_NOTES");
    if (!root)
        return;
    root_len = strlen(root);
    active = 1;
    if (fail && sscanf(fail, "sync:%ld:%d", &fail_sync, &fail_errno) != 2)
        sscanf(fail, "write:%ld:%d", &fail_write, &fail_errno);
    if (fail && strstr(fail, ":noted")) {
        noted_sync = fail_sync, noted_write = fail_write;
        fail_sync = fail_write = 0;
    }
    kill_after = after ? atol(after) : 0;
    if (!path)
        return;
    trace = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (trace < 0 || syscall(SYS_write, trace, &begin, sizeof begin) != sizeof begin)
        die("open trace");
}

static void stop(void)
{
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

/* The lock is held. */
static void emit(struct record record, const char *path, const char *other, const void *data, size_t data_len)
{
    int keep = errno;
    struct iovec parts[4];
    record.path_len = path ? strlen(path) : 0;
    record.other_len = other ? strlen(other) : 0;
    record.data_len = data_len;
    parts[0] = (struct iovec){&record, sizeof record};
    parts[1] = (struct iovec){(void *)path, record.path_len};
    parts[2] = (struct iovec){(void *)other, record.other_len};
    parts[3] = (struct iovec){(void *)data, data_len};
    ssize_t all = sizeof record + record.path_len + record.other_len + data_len;
    if (syscall(SYS_writev, trace, parts, 4) != all)
        die("write trace");
    if (++logged == kill_after)
        stop();
    errno = keep;
}

static void unsupported(const char *call)
{
    pthread_mutex_lock(&lock);
    emit((struct record){.op = 'X'}, call, NULL, NULL, 0);
    pthread_mutex_unlock(&lock);
}

static int is_left_out(const char *path)
{
    const char *name = strrchr(path, '/');
    name = name ? name + 1 : path;
    return strncmp(name, "LOG", 3) == 0 || strcmp(name, "LOCK") == 0;
}

/* Whether a path is logged. Gives it relative to `*dir`, which is a logged directory or AT_FDCWD for the root. */
static int is_below(int *dir, const char **path)
{
    if (trace < 0 || is_left_out(*path))
        return 0;
    if (**path != '/')
        return 0 <= *dir && *dir < MAX_FD && tracked[*dir] == FILES;
    if (strncmp(*path, root, root_len) != 0 || ((*path)[root_len] != '/' && (*path)[root_len]))
        return 0;
    *path += root_len;
    *dir = AT_FDCWD;
    return 1;
}

static int is_file(int fd)
{
    return 0 <= fd && fd < MAX_FD && tracked[fd] == FILES;
}

static int open_at(int dir, const char *path, int flags, mode_t mode)
{
    const char *relative = path;
    int base = dir, fd;
    if (trace < 0)
        return syscall(SYS_openat, dir, path, flags, mode);
    if (notes && strcmp(path, notes) == 0) {
        fd = syscall(SYS_openat, AT_FDCWD, "/dev/null", O_WRONLY | O_CLOEXEC, 0);
        if (0 <= fd && fd < MAX_FD)
            tracked[fd] = NOTES;
        return fd;
    }
    if (!is_below(&base, &relative))
        return syscall(SYS_openat, dir, path, flags, mode);
    pthread_mutex_lock(&lock);
    fd = syscall(SYS_openat, dir, path, flags, mode);
    if (0 <= fd) {
        if (MAX_FD <= fd)
            die("too many files");
        tracked[fd] = FILES;
        emit((struct record){.op = 'O', .fd = fd, .other_fd = base, .a = flags}, relative, NULL, NULL, 0);
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

static mode_t mode_of(int flags, va_list rest)
{
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) \
    { \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = mode_of(flags, rest); \
        va_end(rest); \
        return open_at(AT_FDCWD, path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name) \
    int name(int dir, const char *path, int flags, ...) \
    { \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = mode_of(flags, rest); \
        va_end(rest); \
        return open_at(dir, path, flags, mode); \
    }
OPENAT(openat)
OPENAT(openat64)

int creat(const char *path, mode_t mode)
{
    return open_at(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode);
}

static void closing(int fd)
{
    if (fd < 0 || MAX_FD <= fd || !tracked[fd])
        return;
    pthread_mutex_lock(&lock);
    if (tracked[fd] == FILES)
        emit((struct record){.op = 'C', .fd = fd}, NULL, NULL, NULL, 0);
    tracked[fd] = 0;
    pthread_mutex_unlock(&lock);
}

int close(int fd)
{
    closing(fd);
    return syscall(SYS_close, fd);
}

int closedir(DIR *dir)
{
    static int (*real)(DIR *);
    if (!real)
        real = (int (*)(DIR *))dlsym(RTLD_NEXT, "closedir");
    closing(dirfd(dir));
    return real(dir);
}

/* RocksDB reads some files through stdio, which closes without `close`. */
int fclose(FILE *file)
{
    static int (*real)(FILE *);
    if (!real)
        real = (int (*)(FILE *))dlsym(RTLD_NEXT, "fclose");
    closing(fileno(file));
    return real(file);
}

static ssize_t write_at(int fd, const void *data, size_t len, off_t at)
{
    if (0 <= fd && fd < MAX_FD && tracked[fd] == NOTES) {
        pthread_mutex_lock(&lock);
        emit((struct record){.op = 'N'}, NULL, NULL, data, len);
        if (len == 4 && memcmp(data, "kill", 4) == 0)
            stop();
        if (len == 4 && memcmp(data, "fail", 4) == 0) {
            fail_sync = noted_sync ? syncs + noted_sync : 0;
            fail_write = noted_write ? writes + noted_write : 0;
        }
        pthread_mutex_unlock(&lock);
        return len;
    }
    if (!is_file(fd))
        return at < 0 ? syscall(SYS_write, fd, data, len) : syscall(SYS_pwrite64, fd, data, len, at);
    pthread_mutex_lock(&lock);
    writes++;
    if (fail_write && fail_write < writes) {
        pthread_mutex_unlock(&lock);
        errno = fail_errno;
        return -1;
    }
    if (fail_write == writes && 1 < len)
        len /= 2;
    ssize_t done = at < 0 ? syscall(SYS_write, fd, data, len) : syscall(SYS_pwrite64, fd, data, len, at);
    if (0 < done) {
        if (at < 0)
            at = syscall(SYS_lseek, fd, 0, SEEK_CUR) - done;
        emit((struct record){.op = 'W', .fd = fd, .a = at}, NULL, NULL, data, done);
    }
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t write(int fd, const void *data, size_t len)
{
    return write_at(fd, data, len, -1);
}
ssize_t pwrite(int fd, const void *data, size_t len, off_t at)
{
    return write_at(fd, data, len, at);
}
ssize_t pwrite64(int fd, const void *data, size_t len, off_t at)
{
    return write_at(fd, data, len, at);
}

/* A gathered write may be short: the first part, and the caller comes again. */
ssize_t writev(int fd, const struct iovec *parts, int count)
{
    if (0 <= fd && fd < MAX_FD && tracked[fd])
        for (int n = 0; n < count; n++)
            if (parts[n].iov_len)
                return write_at(fd, parts[n].iov_base, parts[n].iov_len, -1);
    return syscall(SYS_writev, fd, parts, count);
}

#define PWRITEV(name) \
    ssize_t name(int fd, const struct iovec *parts, int count, off_t at) \
    { \
        if (is_file(fd)) \
            for (int n = 0; n < count; n++) \
                if (parts[n].iov_len) \
                    return write_at(fd, parts[n].iov_base, parts[n].iov_len, at); \
        return syscall(SYS_pwritev, fd, parts, count, at, 0); \
    }
PWRITEV(pwritev)
PWRITEV(pwritev64)

/* Refused, so that the caller reads and writes instead. */
ssize_t copy_file_range(int in, off64_t *in_at, int out, off64_t *out_at, size_t len, unsigned flags)
{
    (void)in, (void)in_at, (void)out, (void)out_at, (void)len, (void)flags;
    errno = ENOSYS;
    return -1;
}
ssize_t sendfile64(int out, int in, off64_t *at, size_t len)
{
    (void)out, (void)in, (void)at, (void)len;
    errno = ENOSYS;
    return -1;
}
ssize_t sendfile(int out, int in, off_t *at, size_t len)
{
    return sendfile64(out, in, at, len);
}

static int resize(int fd, off_t len)
{
    if (!is_file(fd))
        return syscall(SYS_ftruncate, fd, len);
    pthread_mutex_lock(&lock);
    int failed = syscall(SYS_ftruncate, fd, len);
    if (!failed)
        emit((struct record){.op = 'T', .fd = fd, .a = len}, NULL, NULL, NULL, 0);
    pthread_mutex_unlock(&lock);
    return failed;
}

int ftruncate(int fd, off_t len)
{
    return resize(fd, len);
}
int ftruncate64(int fd, off_t len)
{
    return resize(fd, len);
}

/* Space reserved beyond the end changes nothing that a reader sees: not even done. */
static int allocate(int fd, int mode, off_t at, off_t len)
{
    struct stat stat;
    if (!active)
        return syscall(SYS_fallocate, fd, mode, at, len);
    if (mode & FALLOC_FL_KEEP_SIZE) {
        if (mode != FALLOC_FL_KEEP_SIZE && is_file(fd) && !fstat(fd, &stat) && at < stat.st_size)
            unsupported("fallocate");
        return 0;
    }
    if (is_file(fd))
        unsupported("fallocate");
    return syscall(SYS_fallocate, fd, mode, at, len);
}

int fallocate(int fd, int mode, off_t at, off_t len)
{
    return allocate(fd, mode, at, len);
}
int fallocate64(int fd, int mode, off_t at, off_t len)
{
    return allocate(fd, mode, at, len);
}
int posix_fallocate(int fd, off_t at, off_t len)
{
    return allocate(fd, 0, at, len) ? errno : 0;
}
int posix_fallocate64(int fd, off_t at, off_t len)
{
    return posix_fallocate(fd, at, len);
}

/* One change of a directory: logged if either path is below the root. */
static int change(char op, int dir, const char *path, int other_dir, const char *other, unsigned flags)
{
    const char *from = path, *to = other;
    int base = dir, other_base = other_dir, failed;
    int below = is_below(&base, &from);
    if (other && is_below(&other_base, &to) != below)
        unsupported("a rename or link across the root");
    pthread_mutex_lock(&lock);
    switch (op) {
    case 'R': failed = syscall(SYS_renameat2, dir, path, other_dir, other, flags); break;
    case 'L': failed = syscall(SYS_linkat, dir, path, other_dir, other, flags); break;
    case 'U': failed = syscall(SYS_unlinkat, dir, path, flags); break;
    default: failed = syscall(SYS_mkdirat, dir, path, flags); break;
    }
    if (!failed && below)
        emit((struct record){.op = op, .fd = base, .other_fd = other_base, .a = flags}, from, to, NULL, 0);
    pthread_mutex_unlock(&lock);
    return failed;
}

int rename(const char *from, const char *to)
{
    return change('R', AT_FDCWD, from, AT_FDCWD, to, 0);
}
int renameat(int dir, const char *from, int other, const char *to)
{
    return change('R', dir, from, other, to, 0);
}
int renameat2(int dir, const char *from, int other, const char *to, unsigned flags)
{
    return change('R', dir, from, other, to, flags);
}
int link(const char *from, const char *to)
{
    return change('L', AT_FDCWD, from, AT_FDCWD, to, 0);
}
int linkat(int dir, const char *from, int other, const char *to, int flags)
{
    return change('L', dir, from, other, to, flags);
}
int unlink(const char *path)
{
    return change('U', AT_FDCWD, path, 0, NULL, 0);
}
int unlinkat(int dir, const char *path, int flags)
{
    return change('U', dir, path, 0, NULL, flags);
}
int remove(const char *path)
{
    int failed = unlink(path);
    return failed && errno == EISDIR ? rmdir(path) : failed;
}
int rmdir(const char *path)
{
    return change('U', AT_FDCWD, path, 0, NULL, AT_REMOVEDIR);
}
int mkdir(const char *path, mode_t mode)
{
    return change('M', AT_FDCWD, path, 0, NULL, mode);
}
int mkdirat(int dir, const char *path, mode_t mode)
{
    return change('M', dir, path, 0, NULL, mode);
}

static int sync_file(int fd)
{
    if (!is_file(fd))
        return active ? 0 : syscall(SYS_fsync, fd);
    pthread_mutex_lock(&lock);
    long ticket = ++syncs;
    int failed = ticket == fail_sync ? fail_errno : 0;
    emit((struct record){.op = 'S', .fd = fd, .a = ticket}, NULL, NULL, NULL, 0);
    long wanted = logged + ticket % 4;
    pthread_mutex_unlock(&lock);
    /* A disk takes its time: now and then let others get in before it is done. */
    for (int n = 0; n < 300 && __atomic_load_n(&logged, __ATOMIC_RELAXED) < wanted; n++)
        sched_yield();
    pthread_mutex_lock(&lock);
    emit((struct record){.op = 'E', .fd = fd, .a = ticket, .b = failed}, NULL, NULL, NULL, 0);
    pthread_mutex_unlock(&lock);
    errno = failed;
    return failed ? -1 : 0;
}

int fsync(int fd)
{
    return sync_file(fd);
}
int fdatasync(int fd)
{
    return sync_file(fd);
}

/* Starts writing back and promises nothing: the model does not know it. */
int sync_file_range(int fd, off64_t at, off64_t len, unsigned flags)
{
    return active ? 0 : syscall(SYS_sync_file_range, fd, at, len, flags);
}

int syncfs(int fd)
{
    if (is_file(fd))
        unsupported("syncfs");
    return syscall(SYS_syncfs, fd);
}

static void *map(void *at, size_t len, int protection, int flags, int fd, off_t from)
{
    if (is_file(fd) && (protection & PROT_WRITE) && (flags & MAP_SHARED))
        unsupported("mmap for writing");
    return (void *)syscall(SYS_mmap, at, len, protection, flags, fd, from);
}

void *mmap(void *at, size_t len, int protection, int flags, int fd, off_t from)
{
    return map(at, len, protection, flags, fd, from);
}
void *mmap64(void *at, size_t len, int protection, int flags, int fd, off_t from)
{
    return map(at, len, protection, flags, fd, from);
}

int dup(int fd)
{
    if (is_file(fd))
        unsupported("dup");
    return syscall(SYS_dup, fd);
}
