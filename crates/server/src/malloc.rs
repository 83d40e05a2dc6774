//! How glibc's allocator is set up for a broker; other C libraries keep their ways.
#![allow(unsafe_code)] // mallopt has no safe wrapper

/// Sets it up, before there is a second thread. What the environment sets by glibc's own variables stays as it is.
///
/// By default glibc has eight arenas for every core, and learns from the first large block that was freed to take all blocks of that size
/// from them. Requests of every length then leave holes in each arena: a broker at full load took half as much memory again as it used
/// (docs/decisions/2026-11-29-arenas.md).
pub(crate) fn set_up() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        for (name, option, value) in [
            ("MALLOC_ARENA_MAX", libc::M_ARENA_MAX, i32::try_from(cores).unwrap_or(i32::MAX)),
            ("MALLOC_MMAP_THRESHOLD_", libc::M_MMAP_THRESHOLD, 1 << 20),
            ("MALLOC_TRIM_THRESHOLD_", libc::M_TRIM_THRESHOLD, 32 << 20),
        ] {
            if std::env::var_os(name).is_none() {
                // SAFETY: it takes plain numbers, and refuses those that it does not know by its result, which changes nothing for us.
                unsafe { libc::mallopt(option, value) };
            }
        }
    }
}
