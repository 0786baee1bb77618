/* Moves the wall clock of a program, and nothing else: CLOCK_REALTIME is read LD_SHIFTED_CLOCK_S seconds (a whole
 * number, may be negative) away from the real one. Timers, sleeps, waits and CLOCK_MONOTONIC stay as they are.
 *
 *     gcc -shared -fPIC -O2 -o shifted_clock.so tests/support/shifted_clock.c -ldl
 *     LD_PRELOAD=$PWD/shifted_clock.so LD_SHIFTED_CLOCK_S=34560000 python -m pytest tests/story
 *
 * A wait until a moment of CLOCK_REALTIME is computed by the program from the shifted clock, and kept by the
 * kernel with the real one, so the moment is moved back before it is handed on. Debian's libfaketime moves such
 * waits, too, but also timers and the time that servers measure.
 *
 * Children inherit it: all programs of one machine read one wall clock. Not reached are programs that ask the
 * kernel without libc (those in Go), and what the kernel writes by itself (times of files). Needs glibc 2.30.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

/* No system has been up for 31 years, and no wall clock shows a moment before 2001. */
#define EARLIEST_WALL_S 1000000000

static long shift_s;

__attribute__((constructor)) static void read_shift(void) {
    const char *text = getenv("LD_SHIFTED_CLOCK_S");
    shift_s = text ? atol(text) : 0;
}

static int is_wall(clockid_t clock) {
    return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_REALTIME_ALARM ||
           clock == CLOCK_TAI;
}

static struct timespec to_real(const struct timespec *shifted) {
    struct timespec real = *shifted;
    real.tv_sec = real.tv_sec > shift_s ? real.tv_sec - shift_s : 0;
    return real;
}

/* --- reading --- */

int clock_gettime(clockid_t clock, struct timespec *found) {
    /* By the kernel, not by dlsym: an allocator may ask for the time before dlsym works. */
    int failed = (int)syscall(SYS_clock_gettime, clock, found);
    if (!failed && is_wall(clock))
        found->tv_sec += shift_s;
    return failed;
}

int gettimeofday(struct timeval *restrict found, void *restrict zone) {
    struct timespec now;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &now))
        return -1;
    found->tv_sec = now.tv_sec;
    found->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *found) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (found)
        *found = now.tv_sec;
    return now.tv_sec;
}

int timespec_get(struct timespec *found, int base) {
    return base == TIME_UTC && !clock_gettime(CLOCK_REALTIME, found) ? base : 0;
}

/* --- waiting until a moment: each in terms of the function that is told the clock --- */

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int sem_clockwait(sem_t *restrict sem, clockid_t clock, const struct timespec *restrict until) {
    struct timespec real = is_wall(clock) ? to_real(until) : *until;
    return NEXT(sem_clockwait)(sem, clock, &real);
}

int sem_timedwait(sem_t *restrict sem, const struct timespec *restrict until) {
    return sem_clockwait(sem, CLOCK_REALTIME, until);
}

int pthread_cond_clockwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex, clockid_t clock,
                           const struct timespec *restrict until) {
    struct timespec real = is_wall(clock) ? to_real(until) : *until;
    return NEXT(pthread_cond_clockwait)(cond, mutex, clock, &real);
}

int pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict until) {
    /* By which clock the condition waits is in its attributes, out of our sight; the moment itself tells. */
    clockid_t clock = until->tv_sec > EARLIEST_WALL_S ? CLOCK_REALTIME : CLOCK_MONOTONIC;
    return pthread_cond_clockwait(cond, mutex, clock, until);
}

int pthread_mutex_clocklock(pthread_mutex_t *restrict mutex, clockid_t clock,
                            const struct timespec *restrict until) {
    struct timespec real = is_wall(clock) ? to_real(until) : *until;
    return NEXT(pthread_mutex_clocklock)(mutex, clock, &real);
}

int pthread_mutex_timedlock(pthread_mutex_t *restrict mutex, const struct timespec *restrict until) {
    return pthread_mutex_clocklock(mutex, CLOCK_REALTIME, until);
}

int pthread_rwlock_clockrdlock(pthread_rwlock_t *restrict lock, clockid_t clock,
                               const struct timespec *restrict until) {
    struct timespec real = is_wall(clock) ? to_real(until) : *until;
    return NEXT(pthread_rwlock_clockrdlock)(lock, clock, &real);
}

int pthread_rwlock_timedrdlock(pthread_rwlock_t *restrict lock, const struct timespec *restrict until) {
    return pthread_rwlock_clockrdlock(lock, CLOCK_REALTIME, until);
}

int pthread_rwlock_clockwrlock(pthread_rwlock_t *restrict lock, clockid_t clock,
                               const struct timespec *restrict until) {
    struct timespec real = is_wall(clock) ? to_real(until) : *until;
    return NEXT(pthread_rwlock_clockwrlock)(lock, clock, &real);
}

int pthread_rwlock_timedwrlock(pthread_rwlock_t *restrict lock, const struct timespec *restrict until) {
    return pthread_rwlock_clockwrlock(lock, CLOCK_REALTIME, until);
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *until, struct timespec *left) {
    struct timespec real = is_wall(clock) && (flags & TIMER_ABSTIME) ? to_real(until) : *until;
    return NEXT(clock_nanosleep)(clock, flags, &real, left);
}

int timerfd_settime(int fd, int flags, const struct itimerspec *wanted, struct itimerspec *before) {
    struct itimerspec real = *wanted;
    /* By which clock the timer runs is out of our sight, too. */
    if ((flags & TFD_TIMER_ABSTIME) && wanted->it_value.tv_sec > EARLIEST_WALL_S)
        real.it_value = to_real(&wanted->it_value);
    return NEXT(timerfd_settime)(fd, flags, &real, before);
}
