//! The system calls that rustix has no safe form for: making processes, and a few that change a whole
//! process. The only unsafe code of the crate.
//!
//! Everything here except [`execve`] and [`close_range_from`] is for the shim and its children, which are
//! single-threaded: what a forked child may do is therefore not limited to async-signal-safe calls.

#![expect(unsafe_code, reason = "the one audited corner: raw process creation")]

mod memory;

use std::ffi::{CStr, CString, c_char, c_int, c_long, c_void};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::atomic::AtomicI32;

use rustix::io::{Errno, Result};
use rustix::process::Pid;
use rustix::thread::UnshareFlags;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

pub(crate) use memory::{give_back_clean_pages, give_back_large_allocations};

/// The exit code of a child whose body panicked.
const PANICKED: i32 = 101;

/// A child that [`fork`] made.
#[derive(Debug)]
pub(crate) struct Child {
    /// Its number in the caller's pid namespace.
    pub(crate) pid: Pid,
    /// A handle that cannot come to mean another process.
    pub(crate) pidfd: OwnedFd,
}

/// Namespaces that [`fork`] makes for its child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fresh {
    /// None: the child shares the caller's.
    Nothing,
    /// A pid namespace, whose first process the child is, and a copy of the mount namespace.
    PidAndMount,
    /// A copy of the mount namespace.
    Mount,
}

impl Fresh {
    const fn flags(self) -> c_int {
        match self {
            Self::Nothing => 0,
            Self::PidAndMount => libc::CLONE_NEWPID | libc::CLONE_NEWNS,
            Self::Mount => libc::CLONE_NEWNS,
        }
    }
}

/// Forks; the child runs `body` and exits with what it returns, so that it never comes back into the
/// caller's frames.
pub(crate) fn fork(fresh: Fresh, body: impl FnOnce() -> i32) -> Result<Child> {
    let mut pidfd: c_int = -1;
    match clone3(fresh.flags() | libc::CLONE_PIDFD, libc::SIGCHLD, &mut pidfd)? {
        None => exit(contained(body)),
        Some(pid) => {
            // SAFETY: with CLONE_PIDFD the kernel has put a new descriptor there, and nobody else owns it.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Child { pid, pidfd })
        }
    }
}

/// Forks a sibling: the child's parent is the caller's parent, which also is the one to reap it. Its
/// number is in the caller's pid namespace.
pub(crate) fn fork_sibling(fresh: Fresh, body: impl FnOnce() -> i32) -> Result<Pid> {
    match clone3(fresh.flags() | libc::CLONE_PARENT, 0, &mut -1)? {
        None => exit(contained(body)),
        Some(pid) => Ok(pid),
    }
}

fn clone3(flags: c_int, exit_signal: c_int, pidfd: &mut c_int) -> Result<Option<Pid>> {
    let args = libc::clone_args {
        flags: u64::from(flags.cast_unsigned()),
        pidfd: ptr::from_mut(pidfd) as u64,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: u64::from(exit_signal.cast_unsigned()),
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: 0,
    };
    // SAFETY: without CLONE_VM and with no stack given this is fork(2): the child goes on with a copy of
    // everything. `args` is a valid clone_args, and `pidfd` outlives the call. The shim has one thread,
    // so no lock is held by a thread that the child lacks.
    let pid = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw const args,
            size_of::<libc::clone_args>(),
        )
    };
    Ok(Pid::from_raw(
        c_int::try_from(checked(pid)?).map_err(|_too_large| Errno::OVERFLOW)?,
    ))
}

/// A stack for [`vfork`]. Pages that are never touched cost nothing.
pub(crate) struct Stack(Vec<u8>);

impl Stack {
    const SIZE: usize = 256 * 1024;

    /// A new one.
    pub(crate) fn new() -> Self {
        Self(Vec::with_capacity(Self::SIZE))
    }

    fn top(&mut self) -> *mut c_void {
        let end = self.0.as_mut_ptr().wrapping_add(Self::SIZE);
        // The psABI of every platform wants 16 bytes of alignment; a stack off by 8 crashes on the first
        // aligned store.
        end.wrapping_sub(end.addr() % 16).cast()
    }
}

/// Runs `body` in a child that borrows the caller's memory, and returns once it has executed another
/// program or exited; cheaper than a fork, as no page table is copied. What `body` writes to memory, the
/// caller sees.
pub(crate) fn vfork(stack: &mut Stack, body: impl FnMut() -> i32) -> Result<Pid> {
    vfork_with(libc::SIGCHLD, stack, ptr::null_mut(), body)
}

/// The same; the child's number is in `told` before it runs, so that others can end one that never comes to its new
/// program.
pub(crate) fn vfork_told(
    stack: &mut Stack,
    told: &AtomicI32,
    body: impl FnMut() -> i32,
) -> Result<Pid> {
    let flags = libc::CLONE_PARENT_SETTID | libc::SIGCHLD;
    vfork_with(flags, stack, told.as_ptr(), body)
}

/// The same, but the child is a sibling: its parent is the caller's, which also is the one to reap it.
pub(crate) fn vfork_sibling(
    stack: &mut Stack,
    told: &AtomicI32,
    body: impl FnMut() -> i32,
) -> Result<Pid> {
    let flags = libc::CLONE_PARENT_SETTID | libc::CLONE_PARENT;
    vfork_with(flags, stack, told.as_ptr(), body)
}

/// `told` is where the kernel writes the child's number, if `flags` ask for that.
fn vfork_with(
    flags: c_int,
    stack: &mut Stack,
    told: *mut i32,
    mut body: impl FnMut() -> i32,
) -> Result<Pid> {
    extern "C" fn enter(body: *mut c_void) -> c_int {
        // SAFETY: the call below passes a pointer to a live `&mut dyn FnMut`, which nobody else uses while
        // the caller is suspended.
        let body = unsafe { &mut *body.cast::<&mut dyn FnMut() -> i32>() };
        exit(contained(body))
    }
    let mut body: &mut dyn FnMut() -> i32 = &mut body;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | flags;
    // SAFETY: the stack is large enough, aligned, and used by this child alone; CLONE_VFORK suspends the
    // caller until the child has let go of the shared memory, so `body` and the stack outlive its use, and
    // so does the number behind `told`, which is an atomic one.
    let pid = unsafe {
        libc::clone(
            enter,
            stack.top(),
            flags,
            ptr::from_mut(&mut body).cast(),
            told,
        )
    };
    let pid = checked(c_long::from(pid))?;
    Pid::from_raw(c_int::try_from(pid).map_err(|_too_large| Errno::OVERFLOW)?).ok_or(Errno::CHILD)
}

/// A page of numbers, first all 0, seen by this process and by the children that it forks from now on.
#[derive(Debug)]
pub(crate) struct SharedNumbers(&'static [AtomicI32; Self::COUNT]);

impl SharedNumbers {
    const SIZE: usize = 4096;
    /// How many there are.
    pub(crate) const COUNT: usize = Self::SIZE / size_of::<AtomicI32>();

    /// A new page.
    pub(crate) fn new() -> Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping at a place that the kernel chooses.
        let page = unsafe { libc::mmap(ptr::null_mut(), Self::SIZE, protection, flags, -1, 0) };
        if page == libc::MAP_FAILED {
            return Err(
                Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::NOMEM)
            );
        }
        // SAFETY: the page is aligned, zeroed, and mapped until the value is dropped, with which all access ends.
        Ok(Self(unsafe { &*page.cast() }))
    }

    /// All of them.
    pub(crate) const fn all(&self) -> &[AtomicI32; Self::COUNT] {
        self.0
    }
}

impl Drop for SharedNumbers {
    fn drop(&mut self) {
        // SAFETY: the mapping that `new` has made, whose only reference goes with this.
        unsafe { libc::munmap(self.0.as_ptr().cast_mut().cast(), Self::SIZE) };
    }
}

/// A filter of system calls.
pub(crate) struct Filter {
    steps: Vec<libc::sock_filter>,
    flags: u64,
}

impl std::fmt::Debug for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Filter({} steps)", self.steps.len())
    }
}

impl Filter {
    /// Of a program for seccomp(2) and the flags for that call.
    pub(crate) const fn new(steps: Vec<libc::sock_filter>, flags: u64) -> Self {
        Self { steps, flags }
    }

    /// The program.
    #[cfg(test)]
    pub(crate) fn steps(&self) -> &[libc::sock_filter] {
        &self.steps
    }

    /// Puts it on the calling process and all that come of it, for ever.
    pub(crate) fn install(&self) -> Result<()> {
        let program = libc::sock_fprog {
            len: u16::try_from(self.steps.len()).map_err(|_too_long| Errno::TOOBIG)?,
            filter: self.steps.as_ptr().cast_mut(),
        };
        // SAFETY: the kernel copies the program, which `program` describes and which it only reads.
        let result = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                self.flags,
                &raw const program,
            )
        };
        checked(result).map(drop)
    }
}

/// A child that unwound into its parent's frames would be a second parent.
fn contained(body: impl FnOnce() -> i32) -> i32 {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(PANICKED)
}

/// Ends the process at once: no destructors, no buffers, nothing that belongs to the parent.
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: takes no pointers and does not return.
    unsafe { libc::_exit(code) }
}

/// A list of strings as `execve` wants it.
pub(crate) struct StringTable {
    _strings: Vec<CString>,
    pointers: Vec<*const c_char>,
}

impl StringTable {
    /// Of these strings, in this order.
    pub(crate) fn new(strings: Vec<CString>) -> Self {
        let end = std::iter::once(ptr::null());
        let pointers = strings
            .iter()
            .map(|string| string.as_ptr())
            .chain(end)
            .collect();
        Self {
            _strings: strings,
            pointers,
        }
    }
}

/// Replaces the program. Returns only if that fails.
pub(crate) fn execve(program: &CStr, argv: &StringTable, env: &StringTable) -> Errno {
    // SAFETY: both tables are null-terminated and point to strings they own.
    let result = unsafe {
        libc::execve(
            program.as_ptr(),
            argv.pointers.as_ptr(),
            env.pointers.as_ptr(),
        )
    };
    checked(c_long::from(result)).err().unwrap_or(Errno::NOEXEC)
}

/// Moves the process into new namespaces. It must have one thread.
pub(crate) fn unshare(namespaces: UnshareFlags) -> Result<()> {
    // SAFETY: CLONE_FILES, the flag this is unsafe for, is not among those that callers here pass.
    unsafe { rustix::thread::unshare_unsafe(namespaces) }
}

/// Closes every descriptor from `first` on, or has them closed when another program is executed.
pub(crate) fn close_range_from(first: u32, on_exec: bool) -> Result<()> {
    close_range(
        first,
        u32::MAX,
        if on_exec {
            libc::CLOSE_RANGE_CLOEXEC
        } else {
            0
        },
    )
}

/// Closes every descriptor above 2 but those of `keep`.
///
/// For a fresh child that owns nothing the rest of its code will use besides `keep`.
pub(crate) fn close_all_but(keep: &[BorrowedFd<'_>]) -> Result<()> {
    let mut keep: Vec<u32> = keep
        .iter()
        .map(|fd| fd.as_raw_fd().cast_unsigned())
        .filter(|&fd| fd > 2)
        .collect();
    keep.sort_unstable();
    let mut first = 3;
    for fd in keep {
        if first < fd {
            close_range(first, fd - 1, 0)?;
        }
        first = fd + 1;
    }
    close_range(first, u32::MAX, 0)
}

fn close_range(first: u32, last: u32, flags: u32) -> Result<()> {
    // SAFETY: takes no pointers. Callers are children before their own program, for which every other
    // descriptor is an accident of inheritance that no value they use still owns.
    checked(unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) }).map(drop)
}

/// What [`set_signals`] does to every signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signals {
    /// The shim's: what a terminal or a service manager sends around does not end it.
    Shim,
    /// A fresh program's: the default for all, none blocked.
    Default,
    /// The first process's of a pid namespace, which only waits: its children are not waited for.
    Process1,
}

/// Sets the disposition of every signal, and unblocks all.
pub(crate) fn set_signals(signals: Signals) {
    const IGNORED: [c_int; 7] = [
        libc::SIGINT,
        libc::SIGTERM,
        libc::SIGHUP,
        libc::SIGQUIT,
        libc::SIGPIPE,
        libc::SIGUSR1,
        libc::SIGUSR2,
    ];
    for signal in 1..=libc::SIGRTMAX() {
        let ignore = match signals {
            Signals::Shim => IGNORED.contains(&signal),
            Signals::Default => false,
            Signals::Process1 => signal == libc::SIGCHLD,
        };
        // The kernel's sigaction: the disposition, then flags, restorer and mask, all of them zero. Not
        // the C library's, which refuses two signals of its own, ignored or not by whoever started us.
        let action = [if ignore { libc::SIG_IGN } else { libc::SIG_DFL }, 0, 0, 0];
        let old = ptr::null_mut::<usize>();
        // SAFETY: no handler function is installed, and `action` is as large as the kernel's struct. The
        // calls that fail are those for KILL and STOP, which is as wanted.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, action.as_ptr(), old, 8) };
    }
    unblock_signals();
}

/// Unblocks all signals.
pub(crate) fn unblock_signals() {
    // SAFETY: sigset_t is plain data that sigemptyset initialises.
    let mut none: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `none` is a valid place for a sigset_t.
    unsafe { libc::sigemptyset(&raw mut none) };
    // SAFETY: `none` is initialised, and the old mask is not asked for.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut()) };
}

/// Sends nothing to the process behind a pidfd, and so only finds out whether it is there.
pub(crate) fn pidfd_test(pidfd: &OwnedFd) -> Result<()> {
    let none = ptr::null::<libc::siginfo_t>();
    // SAFETY: no information is passed, and the descriptor is open.
    checked(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), 0, none, 0) })
        .map(drop)
}

/// Has the ends of children told by a descriptor, non-blocking, from which [`children_have_ended`] reads. Children of
/// this process begin with the signal for that blocked.
pub(crate) fn child_signals() -> Result<OwnedFd> {
    // SAFETY: sigset_t is plain data that sigemptyset initialises.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is a valid place for a sigset_t.
    unsafe { libc::sigemptyset(&raw mut set) };
    // SAFETY: `set` is initialised.
    unsafe { libc::sigaddset(&raw mut set, libc::SIGCHLD) };
    // SAFETY: `set` is initialised, and the old mask is not asked for.
    let blocked = unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut()) };
    checked(c_long::from(blocked))?;
    let flags = libc::SFD_NONBLOCK | libc::SFD_CLOEXEC;
    // SAFETY: `set` is initialised; -1 asks for a new descriptor.
    let fd = unsafe { libc::signalfd(-1, &raw const set, flags) };
    checked(c_long::from(fd))?;
    // SAFETY: the descriptor is new, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Takes what such a descriptor has to tell: that some have ended since the last time.
pub(crate) fn children_have_ended(signals: &OwnedFd) {
    let mut information = [0; size_of::<libc::signalfd_siginfo>()];
    // Of the signals that come before one is taken, one is kept; so nothing is left after the first.
    let _none = rustix::io::read(signals, &mut information);
}

/// Registers a descriptor with the tokio runtime of the calling task.
pub(crate) fn watch(fd: OwnedFd, interest: Interest) -> std::io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd is one open descriptor that stays the same until it is dropped.
    Ok(unsafe { AsyncFd::register_with_interest(fd, interest) }?)
}

/// Makes the mount behind `tree` read-only, with `recursive` every mount below it too. Other attributes
/// stay, locked ones included.
pub(crate) fn set_read_only(tree: BorrowedFd<'_>, recursive: bool) -> Result<()> {
    set_attribute(tree, libc::MOUNT_ATTR_RDONLY, recursive)
}

/// Has no device in the mount behind `tree`, or below it, be more than a name.
pub(crate) fn forbid_devices(tree: BorrowedFd<'_>) -> Result<()> {
    set_attribute(tree, libc::MOUNT_ATTR_NODEV, true)
}

fn set_attribute(tree: BorrowedFd<'_>, attribute: u64, recursive: bool) -> Result<()> {
    let attr = libc::mount_attr {
        attr_set: attribute,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty C string, and `attr` is a valid mount_attr of the size given.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<libc::mount_attr>(),
        )
    };
    checked(result).map(drop)
}

/// Sends a signal by its number, which may be one of the real-time signals.
pub(crate) fn send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<()> {
    let info = ptr::null::<libc::siginfo_t>();
    // SAFETY: without a siginfo the kernel makes one; no other pointer is passed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            info,
            0,
        )
    };
    checked(result).map(drop)
}

fn checked(result: c_long) -> Result<c_long> {
    if result == -1 {
        let code = std::io::Error::last_os_error().raw_os_error();
        return Err(Errno::from_raw_os_error(code.unwrap_or(libc::EINVAL)));
    }
    Ok(result)
}

/// Leaves the session keyring that was inherited for a new and empty one without a name, and with it the keys of
/// whoever it was.
///
/// That there are no keyrings, or that a filter around this process forbids them, which its children cannot leave
/// either, is no error.
pub(crate) fn leave_session_keyring() -> Result<()> {
    match join_keyring(ptr::null()) {
        Err(Errno::NOSYS | Errno::PERM | Errno::ACCESS) => Ok(()),
        joined => joined.map(drop),
    }
}

/// The same for the session keyring of that name in this user namespace, which is made if there is none. Its owner,
/// the user that this process has now, may find and join it again.
///
/// That the user's quota of keys is used up is no error either: the keyring that stays is the shim's, which was new.
pub(crate) fn join_session_keyring(name: &CStr) -> Result<()> {
    let keyring = match join_keyring(name.as_ptr()) {
        Err(Errno::NOSYS | Errno::PERM | Errno::ACCESS | Errno::DQUOT) => return Ok(()),
        joined => joined?,
    };
    // Whoever possesses it everything, its owner all but to write and to change this.
    let permissions: c_long = 0x3f1b_0000;
    // SAFETY: takes numbers only.
    let result = unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            c_long::from(libc::KEYCTL_SETPERM),
            keyring,
            permissions,
        )
    };
    checked(result).map(drop)
}

fn join_keyring(name: *const c_char) -> Result<c_long> {
    let operation = c_long::from(libc::KEYCTL_JOIN_SESSION_KEYRING);
    // SAFETY: `name` is null or ends with a null byte, and is read only.
    checked(unsafe { libc::syscall(libc::SYS_keyctl, operation, name) })
}

/// Has the kernel ask a program, beside those that are there, whenever a process of a cgroup of version 2 makes or
/// opens a device. Its steps are those of the kernel's virtual machine; it answers with 1 for yes.
pub(crate) fn bound_devices(cgroup: BorrowedFd<'_>, steps: &[u64]) -> Result<()> {
    /// The beginnings of `union bpf_attr`, for two of its commands; the kernel takes what is not there for 0.
    #[repr(C)]
    struct Load {
        kind: u32,
        count: u32,
        steps: u64,
        license: u64,
    }
    #[repr(C)]
    struct Attach {
        to: u32,
        program: u32,
        at: u32,
        flags: u32,
    }
    const LOAD: c_int = 5;
    const ATTACH: c_int = 8;
    const OF_DEVICES: u32 = 15;
    const AT_DEVICES: u32 = 6;
    const BESIDE_OTHERS: u32 = 2;
    let load = Load {
        kind: OF_DEVICES,
        count: u32::try_from(steps.len()).map_err(|_| Errno::TOOBIG)?,
        steps: steps.as_ptr().expose_provenance() as u64,
        license: c"Apache-2.0".as_ptr().expose_provenance() as u64,
    };
    // SAFETY: `load` is valid for the length given, and what it points to for as long as the call, which only reads.
    let result = unsafe { libc::syscall(libc::SYS_bpf, LOAD, &raw const load, size_of::<Load>()) };
    let program = c_int::try_from(checked(result)?).map_err(|_| Errno::BADF)?;
    // SAFETY: the kernel has just made this descriptor for us.
    let program = unsafe { OwnedFd::from_raw_fd(program) };
    let attach = Attach {
        to: cgroup.as_raw_fd().cast_unsigned(),
        program: program.as_raw_fd().cast_unsigned(),
        at: AT_DEVICES,
        flags: BESIDE_OTHERS,
    };
    // SAFETY: `attach` is valid for the length given; the call only reads it.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            ATTACH,
            &raw const attach,
            size_of::<Attach>(),
        )
    };
    checked(result).map(drop)
}
