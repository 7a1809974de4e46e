//! Interface groups of FreeBSD and OpenBSD (`group` of ifconfig(8)): which interfaces belong to one.
//! Linux and NetBSD have no such thing.

/// The interfaces of a group, in the kernel's order; `None` if there is no such group.
#[cfg(any(target_os = "freebsd", target_os = "openbsd"))]
pub fn members(group: &str) -> Option<Vec<String>> {
    use std::os::fd::AsFd;

    let fd = super::udp_socket(false).ok()?;
    // The group may grow between the two requests.
    for _ in 0..4 {
        let mut ask = shape::request(group, &mut [])?;
        super::ioctl(fd.as_fd(), shape::MEMBERS, &mut ask).ok()?;
        let mut room = vec![0; shape::length(&ask)];
        let mut ask = shape::request(group, &mut room)?;
        if super::ioctl(fd.as_fd(), shape::MEMBERS, &mut ask).is_ok() {
            return Some(shape::names(&room[..shape::length(&ask).min(room.len())]));
        }
    }
    None
}

/// The interfaces of a group, in the kernel's order; `None` if there is no such group.
#[cfg(not(any(target_os = "freebsd", target_os = "openbsd")))]
pub fn members(_group: &str) -> Option<Vec<String>> {
    None
}

/// `struct ifgroupreq` and `struct ifg_req` as both systems have them on 64-bit machines.
#[allow(dead_code, reason = "compiled and tested everywhere")]
mod shape {
    use std::ops::Range;

    /// SIOCGIFGMEMB.
    pub const MEMBERS: u64 = 0xc028_698a;

    const SIZE: usize = 40;
    /// The size of a name (IFNAMSIZ), and of the structure that holds a member's.
    const NAME: usize = 16;
    const LENGTH: Range<usize> = 16..20;
    const POINTER: Range<usize> = 24..32;

    /// The request for the members of a group, which go into the room as far as it reaches. The room
    /// must live until the request was made. `None` if the name is too long for a group.
    pub fn request(group: &str, room: &mut [u8]) -> Option<[u8; SIZE]> {
        let mut octets = [0; SIZE];
        let length = u32::try_from(room.len()).ok()?;
        octets.get_mut(..NAME - 1)?.get_mut(..group.len())?.copy_from_slice(group.as_bytes());
        octets[LENGTH].copy_from_slice(&length.to_ne_bytes());
        let pointer = if room.is_empty() { 0 } else { room.as_mut_ptr() as u64 };
        octets[POINTER].copy_from_slice(&pointer.to_ne_bytes());
        Some(octets)
    }

    /// How many octets the members take.
    pub fn length(octets: &[u8; SIZE]) -> usize {
        let [a, b, c, d] = [16, 17, 18, 19].map(|at| octets[at]);
        u32::from_ne_bytes([a, b, c, d]) as usize
    }

    /// The names of the members.
    pub fn names(room: &[u8]) -> Vec<String> {
        let name = |octets: &[u8]| {
            let end = octets.iter().position(|octet| *octet == 0).unwrap_or(octets.len());
            String::from_utf8_lossy(&octets[..end]).into_owned()
        };
        room.chunks_exact(NAME).map(name).filter(|name| !name.is_empty()).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::shape::{MEMBERS, length, names, request};

    #[test]
    fn the_request_has_the_shape_of_its_number() {
        // _IOWR('i', 138, …): both directions, the size, the group, the number.
        assert_eq!(MEMBERS & 0xe000_ffff, 0xc000_0000 | 0x6900 | 138);
        let mut room = [0; 32];
        let octets = request("egress", &mut room).unwrap();
        assert_eq!(octets.len() as u64, (MEMBERS >> 16) & 0x1fff);
        assert_eq!(octets[..16], *b"egress\0\0\0\0\0\0\0\0\0\0");
        assert_eq!(length(&octets), 32);
        assert_eq!(octets[24..32], (room.as_ptr() as u64).to_ne_bytes());
        assert_eq!(request("egress", &mut []).unwrap()[16..], [0; 24]);
        assert!(request("sixteen-letters-", &mut room).is_none());
    }

    #[test]
    fn members_are_named_each_in_sixteen_octets() {
        let mut room = [0; 48];
        room[..3].copy_from_slice(b"em0");
        room[16..32].copy_from_slice(b"a-name-as-long-a");
        assert_eq!(names(&room[..40]), ["em0", "a-name-as-long-a"]);
    }
}
