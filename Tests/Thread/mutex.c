// What the thread sanitizer is told of the mutexes of Swift's library.
//
// A free Mutex is locked and unlocked by atomic operations in the caller's own code, which the
// sanitizer sees. One that threads wait for is locked and unlocked by Linux, through functions of
// the library, which it does not see: it would report whatever such a mutex protects. So these
// stand before the library's own, as LD_PRELOAD.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>

#define METHOD __attribute__((swiftcall))
#define SELF __attribute__((swift_context)) void *self
#define NAME(rest) "$s15Synchronization12_MutexHandleV" rest
#define LOCK NAME("9_lockSlowyys6UInt32VF")
#define TRY_LOCK NAME("12_tryLockSlowSbyF")
#define UNLOCK NAME("11_unlockSlowyyF")

void __tsan_acquire(void *address);
void __tsan_release(void *address);

METHOD void lock_slow(uint32_t thread, SELF) __asm__(LOCK);
METHOD bool try_lock_slow(SELF) __asm__(TRY_LOCK);
METHOD void unlock_slow(SELF) __asm__(UNLOCK);

static void *original(const char *name) { return dlsym(RTLD_NEXT, name); }

METHOD void lock_slow(uint32_t thread, SELF) {
  typedef METHOD void Function(uint32_t thread, SELF);
  ((Function *)original(LOCK))(thread, self);
  __tsan_acquire(self);
}

METHOD bool try_lock_slow(SELF) {
  typedef METHOD bool Function(SELF);
  bool is_locked = ((Function *)original(TRY_LOCK))(self);
  if (is_locked) __tsan_acquire(self);
  return is_locked;
}

METHOD void unlock_slow(SELF) {
  typedef METHOD void Function(SELF);
  __tsan_release(self);
  ((Function *)original(UNLOCK))(self);
}
