//! What each process gives up, in the terms of each kernel.
//!
//! [`drop_privileges`] makes a child an ordinary user in an empty directory; [`enter`] then takes away
//! what its role has no use for. On Linux a call that is not on the list ends the process: an error
//! code would be handled somewhere and hide both the attack and the mistake in the list; the parent
//! starts the process again and says what happened.

use std::io;
use std::path::Path;

use super::Role;
use crate::sys;

/// Changes root directory, user and groups, for good.
pub fn drop_privileges(user: &str, root: &Path) -> io::Result<()> {
    let found = nix::unistd::User::from_name(user)?;
    let found = found.ok_or_else(|| {
        let text = format!("there is no user {user}: create it, or name another with -u");
        io::Error::new(io::ErrorKind::NotFound, text)
    })?;
    nix::unistd::chroot(root).map_err(|error| {
        io::Error::other(format!("chroot to {}: {}", root.display(), error.desc()))
    })?;
    std::env::set_current_dir("/")?;
    sys::become_user(found.uid.as_raw(), found.gid.as_raw())?;
    sys::forbid_core_files()
}

/// Takes away what this role has no use for.
#[cfg(target_os = "linux")]
pub fn enter(role: Role) -> io::Result<()> {
    if matches!(role, Role::Parent | Role::Reader) {
        // It opens files and sockets and runs programs as root: nothing worth forbidding is left.
        return Ok(());
    }
    let mut allowed = linux::ALL.to_vec();
    if role == Role::Control {
        allowed.extend(linux::ACCEPT);
    }
    sys::allow_system_calls(&allowed, linux::REFUSED)
}

#[cfg(target_os = "linux")]
mod linux {
    use libc::c_long;

    /// What every child does.
    pub const ALL: &[c_long] = &[
        // Links, UDP and PF_KEY: messages on sockets that are open already.
        libc::SYS_recvmsg,
        libc::SYS_sendmsg,
        libc::SYS_recvfrom,
        libc::SYS_sendto,
        libc::SYS_read,
        libc::SYS_write,
        libc::SYS_writev,
        libc::SYS_close,
        // New descriptors are made non-blocking; the standard library asks for their state.
        libc::SYS_fcntl,
        libc::SYS_ioctl,
        libc::SYS_setsockopt,
        libc::SYS_getsockopt,
        libc::SYS_getsockname,
        // The loop.
        libc::SYS_epoll_ctl,
        libc::SYS_epoll_pwait,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_epoll_wait,
        libc::SYS_ppoll,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_poll,
        // The heap.
        libc::SYS_brk,
        libc::SYS_mmap,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_madvise,
        libc::SYS_mprotect,
        // Random numbers, time, locks within the cryptographic library.
        libc::SYS_getrandom,
        libc::SYS_clock_gettime,
        libc::SYS_clock_nanosleep,
        libc::SYS_gettimeofday,
        // Where the kernel maps no code for it into the process, time(3) is a call of its own.
        #[cfg(target_arch = "x86_64")]
        libc::SYS_time,
        libc::SYS_futex,
        libc::SYS_sched_yield,
        libc::SYS_sched_getaffinity,
        // Who we are: for PF_KEY, and for the library to notice a fork.
        libc::SYS_getpid,
        libc::SYS_gettid,
        libc::SYS_getuid,
        libc::SYS_geteuid,
        libc::SYS_getgid,
        libc::SYS_getegid,
        // The way out, by return, panic or abort.
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sigaltstack,
        libc::SYS_tgkill,
        libc::SYS_restart_syscall,
    ];

    /// `control` takes connections.
    pub const ACCEPT: [c_long; 1] = [libc::SYS_accept4];

    /// Libraries look for files (their configuration, the time zone, what processors there are) and
    /// take no for an answer; in an empty directory they would hear it anyway.
    pub const REFUSED: &[c_long] = &[
        libc::SYS_openat,
        libc::SYS_newfstatat,
        libc::SYS_statx,
        libc::SYS_readlinkat,
        libc::SYS_faccessat,
        libc::SYS_fstat,
        libc::SYS_getcwd,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_open,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_stat,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_access,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_readlink,
    ];
}

/// Takes away what this role has no use for.
///
/// - `stdio`: the heap, the loop, reading and writing what is open; all need it.
/// - `recvfd`: sockets and links come from the parent, also later, when another child was restarted.
/// - `inet`: sendto with an address, on the UDP sockets.
/// - `unix`: accept on the control socket.
/// - the parent: `rpath` reads the configuration and what it includes, `getpw` and `dns` resolve the
///   names in it, `route` its interfaces; `inet` and `wroute` set the addresses and routes that a peer
///   gave us, `wpath` keeps what is set, and leases, for the next daemon; `unix` connects to the system's logger again; `cpath`
///   removes the control socket in the end, and files there; `sendfd` passes links on; `proc` and `exec` restart
///   children.
#[cfg(target_os = "openbsd")]
pub fn enter(role: Role) -> io::Result<()> {
    sys::pledge(match role {
        Role::Parent => "stdio rpath wpath cpath unix inet getpw dns route wroute sendfd proc exec",
        Role::Reader => "stdio rpath getpw dns route tty recvfd",
        Role::Ike | Role::Relay => "stdio recvfd inet",
        Role::Ca(_) => "stdio recvfd",
        Role::Control => "stdio recvfd unix",
    })
}

/// Takes away what this role has no use for: global names (files, addresses, processes). What is open
/// stays usable. The parent opens things by name all the time, and the relay is there to name
/// addresses, which is why it is a process of its own and knows nothing.
#[cfg(target_os = "freebsd")]
pub fn enter(role: Role) -> io::Result<()> {
    match role {
        Role::Parent | Role::Reader | Role::Relay => Ok(()),
        Role::Ike | Role::Ca(_) | Role::Control => sys::enter_capability_mode(),
    }
}

/// There is no sandbox to enter; what is left is the empty directory and the ordinary user.
#[cfg(not(any(target_os = "linux", target_os = "openbsd", target_os = "freebsd")))]
pub fn enter(_role: Role) -> io::Result<()> {
    Ok(())
}

/// On OpenBSD the parent also hides all but what it works with: its own program, to run it again; the
/// control socket, to remove it; the directory for the next daemon; the system's logger; everything else for reading only, as a
/// configuration may include any file.
#[cfg(target_os = "openbsd")]
pub fn veil(program: &Path, socket: &Path, state: &Path) -> io::Result<()> {
    sys::unveil(state, "rwc")?;
    sys::unveil(Path::new("/"), "r")?;
    sys::unveil(program, "rx")?;
    sys::unveil(Path::new("/dev/log"), "rw")?;
    sys::unveil(socket, "rc")
}

/// Only OpenBSD can hide files.
#[cfg(not(target_os = "openbsd"))]
pub fn veil(_program: &Path, _socket: &Path, _state: &Path) -> io::Result<()> {
    Ok(())
}

/// The `ike` process may not name addresses here, so that datagrams need a relay.
pub const NEEDS_RELAY: bool = cfg!(target_os = "freebsd");
