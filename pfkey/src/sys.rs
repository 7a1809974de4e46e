//! The one room of this crate with `unsafe`: opening sockets, their options, sysctl(2).

#![allow(unsafe_code)]

use crate::dialect::{number, rfc2367};
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// PF_KEY_V2 of `net/pfkeyv2.h`.
const PF_KEY_V2: libc::c_int = number(rfc2367::CONSTANTS, "PF_KEY_V2") as libc::c_int;

/// socket(PF_KEY, SOCK_RAW, PF_KEY_V2), closed on exec.
pub(crate) fn open() -> io::Result<OwnedFd> {
    socket(libc::PF_KEY, libc::SOCK_RAW, PF_KEY_V2)
}

/// A SOCK_SEQPACKET socket connected to `path`.
pub(crate) fn connect(path: &Path) -> io::Result<OwnedFd> {
    // SAFETY: sockaddr_un is plain data, for which zeros are valid.
    let mut addr: libc::sockaddr_un = unsafe { mem::zeroed() };
    addr.sun_family = libc::AF_UNIX as libc::sa_family_t;
    let octets = path.as_os_str().as_bytes();
    if octets.len() >= addr.sun_path.len() || octets.contains(&0) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "socket path too long"));
    }
    for (to, from) in addr.sun_path.iter_mut().zip(octets) {
        *to = *from as libc::c_char;
    }
    let fd = socket(libc::AF_UNIX, libc::SOCK_SEQPACKET, 0)?;
    // SAFETY: the address is a whole sockaddr_un that outlives the call.
    let rc = unsafe {
        libc::connect(
            fd.as_raw_fd(),
            (&raw const addr).cast(),
            size_of::<libc::sockaddr_un>() as libc::socklen_t,
        )
    };
    check(rc)?;
    Ok(fd)
}

fn socket(family: libc::c_int, kind: libc::c_int, protocol: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    let fd = unsafe { libc::socket(family, kind, protocol) };
    check(fd)?;
    // SAFETY: socket(2) just gave us this descriptor and nobody else has it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: no pointers; the descriptor is open.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) })?;
    Ok(fd)
}

/// Makes reads and writes return at once.
pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: no pointers; the descriptor is open.
    let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) };
    check(flags)?;
    // SAFETY: no pointers; the descriptor is open.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK) })
}

/// Asks for a buffer of this many octets; which is SO_RCVBUF or SO_SNDBUF.
pub(crate) fn set_buffer(fd: BorrowedFd<'_>, receive: bool, octets: usize) -> io::Result<()> {
    let which = if receive { libc::SO_RCVBUF } else { libc::SO_SNDBUF };
    let value = libc::c_int::try_from(octets).unwrap_or(libc::c_int::MAX);
    // SAFETY: the value is an int that outlives the call, and its size is told.
    let rc = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            which,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    check(rc)
}

/// sysctl(2) of net.key: CTL_NET, PF_KEY, PF_KEY_V2, `what`, and the protocol when not 0.
#[cfg(target_os = "openbsd")]
pub(crate) fn sysctl(what: libc::c_int, sa_type: libc::c_int) -> io::Result<Vec<u8>> {
    use std::ptr;
    let mib = [libc::CTL_NET, libc::PF_KEY, PF_KEY_V2, what, sa_type];
    let names = if sa_type == 0 { 4 } else { 5 };
    // What is there may grow between the two calls; ask again with room to spare.
    for _ in 0..8 {
        let mut len: libc::size_t = 0;
        // SAFETY: mib has `names` entries or more; without a buffer only `len` is written.
        check(unsafe {
            libc::sysctl(mib.as_ptr(), names, ptr::null_mut(), &mut len, ptr::null_mut(), 0)
        })?;
        if len == 0 {
            return Ok(Vec::new());
        }
        len += len / 4 + 4096;
        let mut out = vec![0u8; len];
        // SAFETY: `out` has room for `len` octets, and the kernel writes no more than that.
        let rc = unsafe {
            libc::sysctl(mib.as_ptr(), names, out.as_mut_ptr().cast(), &mut len, ptr::null_mut(), 0)
        };
        match check(rc) {
            Ok(()) => {
                out.truncate(len);
                return Ok(out);
            }
            Err(e) if e.raw_os_error() == Some(libc::ENOMEM) => {}
            Err(e) => return Err(e),
        }
    }
    Err(io::Error::from_raw_os_error(libc::ENOMEM))
}

/// Only OpenBSD tells its SADB by sysctl(2).
#[cfg(not(target_os = "openbsd"))]
pub(crate) fn sysctl(_what: libc::c_int, _sa_type: libc::c_int) -> io::Result<Vec<u8>> {
    Err(io::Error::from(io::ErrorKind::Unsupported))
}

fn check(rc: libc::c_int) -> io::Result<()> {
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
