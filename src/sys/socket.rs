//! Sockets, and messages with control data.

use std::ffi::c_int;
use std::io;
use std::mem::{MaybeUninit, size_of, zeroed};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::check;

/// Room for the control data of one message: one descriptor or one packet information, with spare.
const CONTROL_ROOM: usize = 256;

/// An aligned buffer for control data.
#[repr(C, align(8))]
struct ControlBuffer([u8; CONTROL_ROOM]);

/// One item of control data that is not a descriptor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// `SOL_…` or `IPPROTO_…`.
    pub level: c_int,
    /// The type within the level.
    pub kind: c_int,
    /// Its octets, in the order of the machine.
    pub data: Vec<u8>,
}

/// What one `recvmsg(2)` gave.
#[derive(Debug)]
pub struct Received {
    /// Octets written into the buffer; 0 is the end of a stream.
    pub len: usize,
    /// Who sent it, on a datagram socket.
    pub from: Option<SocketAddr>,
    /// Control data other than descriptors.
    pub controls: Vec<Control>,
    /// Descriptors that came with it; close-on-exec.
    pub descriptors: Vec<OwnedFd>,
    /// The datagram or the control data did not fit.
    pub truncated: bool,
}

/// Receives without waiting (`EAGAIN` if there is nothing).
pub fn recv(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Received> {
    let mut control = ControlBuffer([0; CONTROL_ROOM]);
    let mut name = MaybeUninit::<libc::sockaddr_storage>::zeroed();
    let mut iov = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: a msghdr of zeroes is valid: null pointers with zero lengths.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_name = name.as_mut_ptr().cast();
    message.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    message.msg_iov = &raw mut iov;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = CONTROL_ROOM as _;
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: every pointer of `message` is to a live local (or `buffer`) of the length given.
    let len = unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, flags) };
    let len = usize::try_from(len).map_err(|_| io::Error::last_os_error())?;
    let (controls, descriptors) = take_controls(&message);
    // SAFETY: the storage began as zeroes, which are valid, and the kernel wrote an address or nothing.
    let from = address(unsafe { name.assume_init_ref() }, message.msg_namelen);
    let truncated = message.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0;
    Ok(Received { len, from, controls, descriptors, truncated })
}

/// Takes the control data of a message that `recvmsg` filled in.
fn take_controls(message: &libc::msghdr) -> (Vec<Control>, Vec<OwnedFd>) {
    let mut controls = Vec::new();
    let mut descriptors = Vec::new();
    // SAFETY: `message` describes a control buffer that the kernel filled; the macro stays within it.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !next.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR give null or a whole header within the buffer.
        let (header, data) = unsafe { (*next, libc::CMSG_DATA(next)) };
        let skip = data as usize - next as usize;
        #[allow(clippy::unnecessary_cast, reason = "its type differs by system")]
        let len = (header.cmsg_len as usize).saturating_sub(skip);
        let mut octets = vec![0; len];
        // SAFETY: the kernel says that `len` octets lie behind the header, within the buffer.
        unsafe { std::ptr::copy_nonoverlapping(data, octets.as_mut_ptr(), len) };
        if header.cmsg_level == libc::SOL_SOCKET && header.cmsg_type == libc::SCM_RIGHTS {
            for raw in octets.chunks_exact(size_of::<c_int>()) {
                let mut number = [0; size_of::<c_int>()];
                number.copy_from_slice(raw);
                // SAFETY: the kernel made this descriptor for us just now; nobody else has it.
                descriptors.push(unsafe { OwnedFd::from_raw_fd(c_int::from_ne_bytes(number)) });
            }
        } else {
            controls.push(Control {
                level: header.cmsg_level,
                kind: header.cmsg_type,
                data: octets,
            });
        }
        // SAFETY: as above; `next` came from these macros and `message` is unchanged.
        next = unsafe { libc::CMSG_NXTHDR(message, next) };
    }
    (controls, descriptors)
}

/// Sends without waiting, to an address or on a connected socket, with at most one item of control
/// data. Gives the number of octets taken.
pub fn send(
    fd: BorrowedFd<'_>,
    octets: &[&[u8]],
    to: Option<SocketAddr>,
    control: Option<&Control>,
) -> io::Result<usize> {
    let mut iov: Vec<libc::iovec> = octets
        .iter()
        .map(|part| libc::iovec { iov_base: part.as_ptr().cast_mut().cast(), iov_len: part.len() })
        .collect();
    let name = to.map(storage);
    let mut buffer = ControlBuffer([0; CONTROL_ROOM]);
    // SAFETY: a msghdr of zeroes is valid: null pointers with zero lengths.
    let mut message: libc::msghdr = unsafe { zeroed() };
    if let Some((name, len)) = &name {
        message.msg_name = (&raw const *name).cast_mut().cast();
        message.msg_namelen = *len;
    }
    message.msg_iov = iov.as_mut_ptr();
    message.msg_iovlen = iov.len() as _;
    if let Some(control) = control {
        put_control(&mut message, &mut buffer, control)?;
    }
    // SAFETY: every pointer of `message` is to a live local or to `octets`; sendmsg only reads them.
    let sent = unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const message, libc::MSG_DONTWAIT) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Sends octets with a descriptor attached to the first of them.
pub fn send_descriptor(
    fd: BorrowedFd<'_>,
    octets: &[u8],
    attached: BorrowedFd<'_>,
) -> io::Result<usize> {
    let data = attached.as_raw_fd().to_ne_bytes().to_vec();
    let control = Control { level: libc::SOL_SOCKET, kind: libc::SCM_RIGHTS, data };
    send(fd, &[octets], None, Some(&control))
}

/// Writes one item into the control buffer of a message.
fn put_control(
    message: &mut libc::msghdr,
    buffer: &mut ControlBuffer,
    control: &Control,
) -> io::Result<()> {
    let len = u32::try_from(control.data.len()).map_err(io::Error::other)?;
    // SAFETY: these macros only compute.
    let (space, length) = unsafe { (libc::CMSG_SPACE(len), libc::CMSG_LEN(len)) };
    if space as usize > CONTROL_ROOM {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too much control data"));
    }
    message.msg_control = buffer.0.as_mut_ptr().cast();
    message.msg_controllen = space as _;
    // SAFETY: the buffer has room for the header and its data, as checked above, and is aligned.
    unsafe {
        let header = libc::CMSG_FIRSTHDR(message);
        (*header).cmsg_level = control.level;
        (*header).cmsg_type = control.kind;
        (*header).cmsg_len = length as _;
        let data = libc::CMSG_DATA(header);
        std::ptr::copy_nonoverlapping(control.data.as_ptr(), data, control.data.len());
    }
    Ok(())
}

/// An address as the kernel wants it.
fn storage(address: SocketAddr) -> (libc::sockaddr_storage, libc::socklen_t) {
    // SAFETY: a sockaddr_storage of zeroes is valid.
    let mut storage: libc::sockaddr_storage = unsafe { zeroed() };
    let place = &raw mut storage;
    let len = match address {
        SocketAddr::V4(v4) => {
            let at = place.cast::<libc::sockaddr_in>();
            // SAFETY: sockaddr_storage is at least as large and as aligned as sockaddr_in.
            unsafe {
                (*at).sin_family = libc::AF_INET as libc::sa_family_t;
                (*at).sin_port = v4.port().to_be();
                (*at).sin_addr.s_addr = u32::from_ne_bytes(v4.ip().octets());
            }
            size_of::<libc::sockaddr_in>()
        }
        SocketAddr::V6(v6) => {
            let at = place.cast::<libc::sockaddr_in6>();
            // SAFETY: sockaddr_storage is at least as large and as aligned as sockaddr_in6.
            unsafe {
                (*at).sin6_family = libc::AF_INET6 as libc::sa_family_t;
                (*at).sin6_port = v6.port().to_be();
                (*at).sin6_addr.s6_addr = v6.ip().octets();
                (*at).sin6_scope_id = v6.scope_id();
            }
            size_of::<libc::sockaddr_in6>()
        }
    };
    #[cfg(not(target_os = "linux"))]
    {
        storage.ss_len = len as u8;
    }
    (storage, len as libc::socklen_t)
}

/// An address as the kernel gave it.
fn address(storage: &libc::sockaddr_storage, len: libc::socklen_t) -> Option<SocketAddr> {
    let len = len as usize;
    match c_int::from(storage.ss_family) {
        libc::AF_INET if len >= size_of::<libc::sockaddr_in>() => {
            // SAFETY: the family says sockaddr_in, and the storage is larger than one.
            let v4 = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
        }
        libc::AF_INET6 if len >= size_of::<libc::sockaddr_in6>() => {
            // SAFETY: the family says sockaddr_in6, and the storage is larger than one.
            let v6 = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            Some(SocketAddrV6::new(ip, u16::from_be(v6.sin6_port), 0, v6.sin6_scope_id).into())
        }
        _ => None,
    }
}

/// A UDP socket of a family, non-blocking and close-on-exec.
pub fn udp_socket(ipv6: bool) -> io::Result<OwnedFd> {
    let family = if ipv6 { libc::AF_INET6 } else { libc::AF_INET };
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: socket(2) takes numbers only.
    let raw = unsafe { libc::socket(family, kind, 0) };
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a descriptor that was made just now.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// Binds a socket to an address.
pub fn bind(fd: BorrowedFd<'_>, to: SocketAddr) -> io::Result<()> {
    let (name, len) = storage(to);
    // SAFETY: `name` lives through the call and is `len` octets long.
    let status = unsafe { libc::bind(fd.as_raw_fd(), (&raw const name).cast(), len) };
    check(status)
}

/// Sets an option of a socket to a value given as octets.
pub fn set_option(fd: BorrowedFd<'_>, level: c_int, name: c_int, value: &[u8]) -> io::Result<()> {
    let len = libc::socklen_t::try_from(value.len()).map_err(io::Error::other)?;
    // SAFETY: the pointer is to `len` octets that live through the call.
    let status =
        unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, value.as_ptr().cast(), len) };
    check(status)
}

/// The routing domain that a socket is in, where there is such a thing.
#[cfg(target_os = "openbsd")]
pub fn rdomain(fd: BorrowedFd<'_>) -> Option<u16> {
    let mut table: c_int = 0;
    let mut len = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: both pointers are to live locals, and the option is an int.
    check(unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RTABLE,
            (&raw mut table).cast(),
            &raw mut len,
        )
    })
    .ok()?;
    u16::try_from(table).ok()
}

/// The routing domain that a socket is in, where there is such a thing.
#[cfg(not(target_os = "openbsd"))]
pub fn rdomain(_fd: BorrowedFd<'_>) -> Option<u16> {
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn addresses_survive_the_kernels_form() {
        for text in ["192.0.2.1:500", "[2001:db8::1]:4500", "[fe80::1%7]:500"] {
            let wanted: SocketAddr = text.parse().unwrap();
            let (storage, len) = storage(wanted);
            assert_eq!(address(&storage, len), Some(wanted));
        }
    }

    #[test]
    fn a_descriptor_travels_with_its_octets() {
        let (a, b) = UnixStream::pair().unwrap();
        let (c, d) = UnixStream::pair().unwrap();
        assert_eq!(send_descriptor(a.as_fd(), b"take", c.as_fd()).unwrap(), 4);
        let mut buffer = [0; 16];
        let mut received = recv(b.as_fd(), &mut buffer).unwrap();
        assert_eq!((&buffer[..4], received.descriptors.len()), (&b"take"[..], 1));
        drop(c);
        let taken = received.descriptors.pop().unwrap();
        send(taken.as_fd(), &[b"through"], None, None).unwrap();
        let got = recv(d.as_fd(), &mut buffer).unwrap();
        assert_eq!(&buffer[..got.len], b"through");
    }
}
