//! What the process asks of its allocator and of the kernel.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Has glibc keep one arena a core. By itself it makes up to eight a core, one for each thread that allocates while others do, and
/// what a thread of the pool frees stays with its arena: a server that took in half a million series kept a tenth more memory.
/// Elsewhere there is nothing to set. To be called before threads start.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "no crate of ours wraps mallopt")]
pub(crate) fn keep_few_arenas() {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let arenas = libc::c_int::try_from(cores.max(2)).unwrap_or(libc::c_int::MAX);
    // SAFETY: the call takes two numbers and sets a bound that the allocator reads; no other thread runs yet.
    if unsafe { libc::mallopt(libc::M_ARENA_MAX, arenas) } != 1 {
        tracing::debug!(arenas, "the allocator does not take a bound of arenas");
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn keep_few_arenas() {}

/// Allows as many open files as the process may have: parts and connections hold one or two each, and the usual limit of 1,024
/// is there for programs that know no better than `select`.
pub(crate) fn allow_many_files() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: maximum,
                maximum,
            },
        )
    {
        tracing::debug!(%error, ?current, ?maximum, "the limit of open files stays as it is");
    }
}

/// Connections that all ports have together unless the configuration says more: half of the files that may be open, for parts want
/// some as well, and not so many that their buffers alone fill a machine.
pub(crate) fn connections_max() -> usize {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(files / 2).unwrap_or(usize::MAX).clamp(64, 32_768)
}
