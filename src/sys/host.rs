//! Addresses and routes of this host: rtnetlink on Linux; SIOCAIFADDR and the routing socket on the BSDs.
//!
//! What is there already is [`io::ErrorKind::AlreadyExists`]; what is to be deleted and is not there is
//! no error.

use std::io;
use std::net::IpAddr;

/// A network: its address and the length of its prefix.
pub type Network = (IpAddr, u8);

#[cfg(not(target_os = "linux"))]
mod bsd;
#[cfg(target_os = "linux")]
mod netlink;
#[allow(dead_code, reason = "every system's is compiled and tested everywhere")]
mod shapes;

#[cfg(not(target_os = "linux"))]
use bsd as native;
#[cfg(target_os = "linux")]
use netlink as native;

pub use native::{add_address, add_route, delete_address, delete_route, propose_name_servers};

/// The octets of an address.
fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// Not being there is as good as being deleted.
fn gone(outcome: io::Result<()>) -> io::Result<()> {
    let missing = [libc::ESRCH, libc::EADDRNOTAVAIL, libc::ENXIO, libc::ENODEV, libc::ENOENT];
    match outcome {
        Err(error) if error.raw_os_error().is_some_and(|code| missing.contains(&code)) => Ok(()),
        other => other,
    }
}
