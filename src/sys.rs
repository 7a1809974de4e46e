//! Every libc call and unsafe block of the daemon.
//!
//! What the standard library, `nix` and `mio` offer safely is used from there; here stands the rest:
//! signals, system logging and the sandboxes of the kernels; sockets and messages with control data
//! (`sys/socket.rs`), interface groups, and what is set on the host ([`host`]).

#![allow(unsafe_code)]

pub mod group;
pub mod host;
mod socket;

pub use socket::{
    Control, Received, bind, rdomain, recv, send, send_descriptor, set_option, udp_socket,
};

use std::ffi::{CString, c_int};
use std::io;
use std::mem::zeroed;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::OnceLock;
use std::time::Duration;
/// A request to a device that reads a structure of the size that its number says.
#[cfg(not(target_os = "linux"))]
fn ioctl(fd: std::os::fd::BorrowedFd<'_>, request: u64, octets: &mut [u8]) -> io::Result<()> {
    if (request >> 16) & 0x1fff != octets.len() as u64 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a structure of another size"));
    }
    // SAFETY: the kernel reads (and may write) as many octets as the number says, which are there;
    // what `group` points to is there too, of the length that stands beside the pointer.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), request as _, octets.as_mut_ptr()) })
}

fn check(status: c_int) -> io::Result<()> {
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

// ---- signals ----

/// The end of the pipe that the handler writes to.
static SIGNALS: OnceLock<UnixStream> = OnceLock::new();

/// Writes the signal's number into the pipe; a full pipe loses it, for then one is there already.
extern "C" fn on_signal(number: c_int) {
    if let Some(pipe) = SIGNALS.get() {
        let octet = [number as u8];
        // SAFETY: send(2) is async-signal-safe; the descriptor lives as long as the program.
        unsafe { libc::send(pipe.as_raw_fd(), octet.as_ptr().cast(), 1, libc::MSG_DONTWAIT) };
    }
}

/// Has these signals come as octets, each its number, out of the stream given back. Once only.
pub fn catch_signals(numbers: &[c_int]) -> io::Result<UnixStream> {
    let (ours, handlers) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    SIGNALS.set(handlers).map_err(|_| io::Error::other("signals are caught already"))?;
    for &number in numbers {
        set_signal(number, on_signal as extern "C" fn(c_int) as libc::sighandler_t)?;
    }
    Ok(ours)
}

/// Ignores these signals.
pub fn ignore_signals(numbers: &[c_int]) -> io::Result<()> {
    numbers.iter().try_for_each(|&number| set_signal(number, libc::SIG_IGN))
}

fn set_signal(number: c_int, handler: libc::sighandler_t) -> io::Result<()> {
    // SAFETY: a sigaction of zeroes is valid (empty mask, no flags).
    let mut action: libc::sigaction = unsafe { zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: `action` is valid; the handler does only what is async-signal-safe.
    check(unsafe { libc::sigaction(number, &raw const action, std::ptr::null_mut()) })
}

// ---- addresses ----

/// A socket that has something to read whenever an address of ours comes or goes: rtnetlink.
#[cfg(target_os = "linux")]
pub fn address_events() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: takes numbers.
    let raw = unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_ROUTE) };
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel made this descriptor for us just now; nobody else has it.
    let fd = unsafe { OwnedFd::from_raw_fd(raw) };
    // SAFETY: a sockaddr_nl of zeroes is valid.
    let mut name: libc::sockaddr_nl = unsafe { zeroed() };
    name.nl_family = libc::AF_NETLINK as libc::sa_family_t;
    name.nl_groups =
        (libc::RTMGRP_LINK | libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV6_IFADDR) as u32;
    let len = size_of::<libc::sockaddr_nl>() as libc::socklen_t;
    // SAFETY: bind reads `len` octets of a live local.
    check(unsafe { libc::bind(fd.as_raw_fd(), (&raw const name).cast(), len) })?;
    Ok(fd)
}

/// A socket that has something to read whenever an address of ours comes or goes: route(4).
#[cfg(not(target_os = "linux"))]
pub fn address_events() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: takes numbers.
    let raw = unsafe { libc::socket(libc::PF_ROUTE, kind, 0) };
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel made this descriptor for us just now; nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// Whether a message of [`address_events`] is about an address or an interface.
#[cfg(target_os = "linux")]
pub fn is_address_event(_message: &[u8]) -> bool {
    // The groups that were subscribed to carry nothing else.
    true
}

/// Whether a message of [`address_events`] is about an address or an interface: length, version and
/// type are the first fields of every message of route(4).
#[cfg(not(target_os = "linux"))]
pub fn is_address_event(message: &[u8]) -> bool {
    let kind = message.get(3).copied().map(c_int::from);
    [libc::RTM_NEWADDR, libc::RTM_DELADDR, libc::RTM_IFINFO].map(Some).contains(&kind)
}

// ---- process ----

/// Writes no core files from now on: they would hold keys.
pub fn forbid_core_files() -> io::Result<()> {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: setrlimit reads one rlimit.
    check(unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) })
}

/// Becomes another user and group for good, without supplementary groups.
pub fn become_user(uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: these calls take numbers and one pointer to one group.
    unsafe {
        check(libc::setgroups(1, &raw const gid))?;
        // As root setgid and setuid set the real, effective and saved id alike, on every system.
        check(libc::setgid(gid))?;
        check(libc::setuid(uid))?;
        // If root can be had back then something is very wrong.
        if uid != 0 && libc::setuid(0) == 0 {
            return Err(io::Error::other("root privileges could be regained"));
        }
    }
    Ok(())
}

/// Shows the role in the list of processes, where the system has a call for it.
pub fn set_title(role: &str) {
    #[cfg(any(target_os = "openbsd", target_os = "freebsd", target_os = "netbsd"))]
    if let Ok(role) = CString::new(role) {
        unsafe extern "C" {
            fn setproctitle(format: *const std::ffi::c_char, ...);
        }
        // SAFETY: the format takes one string, which is given and terminated.
        unsafe { setproctitle(c"%s".as_ptr(), role.as_ptr()) };
    }
    #[cfg(target_os = "linux")]
    if let Ok(name) = CString::new(format!("oakd-{role}")) {
        // SAFETY: PR_SET_NAME reads at most 16 octets of a terminated string.
        unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr(), 0, 0, 0) };
    }
}

/// How long the machine has been running; on some systems without the time it slept.
pub fn uptime() -> Option<Duration> {
    // SAFETY: a timespec of zeroes is valid.
    let mut time: libc::timespec = unsafe { zeroed() };
    // SAFETY: the pointer is to a live local, which the call fills in.
    check(unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) }).ok()?;
    Some(Duration::new(u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?))
}

/// The effective user is root.
pub fn is_root() -> bool {
    // SAFETY: takes nothing, cannot fail.
    unsafe { libc::geteuid() == 0 }
}

// ---- system log ----

/// Opens the system log as `oakd[pid]`, facility daemon.
pub fn open_syslog() {
    // SAFETY: the name is static, as openlog keeps the pointer.
    unsafe { libc::openlog(c"oakd".as_ptr(), libc::LOG_PID | libc::LOG_NDELAY, libc::LOG_DAEMON) };
}

/// Writes one line to the system log with a priority of `LOG_ERR` … `LOG_DEBUG`.
pub fn syslog(priority: c_int, line: &str) {
    let Ok(line) = CString::new(line.replace('\0', " ")) else { return };
    // SAFETY: the format takes one string, which is given and terminated.
    unsafe { libc::syslog(priority, c"%s".as_ptr(), line.as_ptr()) };
}

// ---- sandboxes ----

/// pledge(2): only what these promises allow from now on; for programs it executes, everything.
#[cfg(target_os = "openbsd")]
pub fn pledge(promises: &str) -> io::Result<()> {
    let promises = CString::new(promises)?;
    // SAFETY: a terminated string and a null pointer, which leaves the execpromises alone.
    check(unsafe { libc::pledge(promises.as_ptr(), std::ptr::null()) })
}

/// unveil(2): this path, with these permissions.
#[cfg(target_os = "openbsd")]
pub fn unveil(path: &std::path::Path, permissions: &str) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let path = CString::new(path.as_os_str().as_bytes())?;
    let permissions = CString::new(permissions)?;
    // SAFETY: two terminated strings.
    check(unsafe { libc::unveil(path.as_ptr(), permissions.as_ptr()) })
}

/// cap_enter(2): no global names from now on.
#[cfg(target_os = "freebsd")]
pub fn enter_capability_mode() -> io::Result<()> {
    // SAFETY: takes nothing.
    check(unsafe { libc::cap_enter() })
}

/// Only these system calls from now on; those of `refused` fail with `EACCES`, any other ends the
/// process with `SIGSYS`. The architecture is checked, so that numbers mean what they say.
#[cfg(target_os = "linux")]
pub fn allow_system_calls(allowed: &[libc::c_long], refused: &[libc::c_long]) -> io::Result<()> {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    // Offsets within struct seccomp_data: the number of the call, then the architecture.
    const NUMBER: u32 = 0;
    const ARCHITECTURE: u32 = 4;
    let op = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut program = vec![
        op(LOAD, 0, 0, ARCHITECTURE),
        op(EQUAL, 1, 0, AUDIT_ARCHITECTURE),
        op(RETURN, 0, 0, libc::SECCOMP_RET_KILL_PROCESS),
        op(LOAD, 0, 0, NUMBER),
    ];
    let denied = libc::SECCOMP_RET_ERRNO | libc::EACCES as u32;
    let allowed = allowed.iter().map(|&call| (call, libc::SECCOMP_RET_ALLOW));
    for (call, verdict) in allowed.chain(refused.iter().map(|&call| (call, denied))) {
        let number = u32::try_from(call).map_err(io::Error::other)?;
        program.push(op(EQUAL, 0, 1, number));
        program.push(op(RETURN, 0, 0, verdict));
    }
    program.push(op(RETURN, 0, 0, libc::SECCOMP_RET_KILL_PROCESS));
    let filter = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(io::Error::other)?,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: prctl with numbers; then with a pointer to a program of the length given, which the
    // kernel copies and checks.
    unsafe {
        check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
        let mode = libc::SECCOMP_MODE_FILTER;
        check(libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const filter))
    }
}

/// `AUDIT_ARCH_…` of linux/audit.h: the ELF machine, 64 bits (bit 31), little endian (bit 30).
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
const AUDIT_ARCHITECTURE: u32 = 0xC000_003E;
/// As above.
#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
const AUDIT_ARCHITECTURE: u32 = 0xC000_00B7;
/// As above.
#[cfg(all(target_os = "linux", target_arch = "riscv64"))]
const AUDIT_ARCHITECTURE: u32 = 0xC000_00F3;

/// A second descriptor of standard input, which is a child's link to the parent. Standard input
/// itself is null from then on.
pub fn take_stdin() -> io::Result<OwnedFd> {
    let link = io::stdin().as_fd().try_clone_to_owned()?;
    let null = std::fs::File::open("/dev/null")?;
    nix::unistd::dup2_stdin(null)?;
    Ok(link)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn addresses_can_be_watched() {
        let fd = address_events().unwrap();
        let quiet = recv(fd.as_fd(), &mut [0; 256]);
        assert!(quiet.is_ok() || quiet.unwrap_err().kind() == io::ErrorKind::WouldBlock);
    }
}
