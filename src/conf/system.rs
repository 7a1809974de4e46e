//! The files and names of the running system.

use std::fs;
use std::io::Read;
use std::net::{IpAddr, ToSocketAddrs};
use std::os::unix::fs::MetadataExt;

use super::source::{FileText, Files, InterfaceAddress, Names, NumericNames};
use crate::sys::group;

/// The largest file that is read at all, in octets.
const READ_LIMIT: u64 = 17 << 20;

/// The file system; `-` is the standard input.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemFiles;

impl Files for SystemFiles {
    fn read(&self, path: &str) -> Result<FileText, String> {
        let mut octets = Vec::new();
        if path == "-" {
            let input = std::io::stdin().lock();
            input.take(READ_LIMIT).read_to_end(&mut octets).map_err(|e| e.to_string())?;
            let uid = nix::unistd::geteuid().as_raw();
            return Ok(FileText { octets, mode: 0o600, uid });
        }
        let file = fs::File::open(path).map_err(|e| e.to_string())?;
        let metadata = file.metadata().map_err(|e| e.to_string())?;
        file.take(READ_LIMIT).read_to_end(&mut octets).map_err(|e| e.to_string())?;
        Ok(FileText { octets, mode: metadata.mode() & 0o7777, uid: metadata.uid() })
    }

    fn may_own_secrets(&self, uid: u32) -> bool {
        uid == 0 || uid == nix::unistd::geteuid().as_raw()
    }
}

/// The resolver, the interfaces, `/etc/services` and `/etc/protocols`.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemNames;

impl Names for SystemNames {
    fn host(&self, name: &str) -> Vec<IpAddr> {
        let found = (name, 0u16).to_socket_addrs().map(|found| found.map(|a| a.ip()).collect());
        let mut addresses: Vec<IpAddr> = found.unwrap_or_default();
        addresses.dedup();
        addresses
    }

    fn interface(&self, name: &str) -> Option<Vec<InterfaceAddress>> {
        match group::members(name) {
            Some(members) => Some(members.iter().filter_map(|it| one(it)).flatten().collect()),
            None => one(name),
        }
    }

    fn service(&self, name: &str) -> Option<u16> {
        let text = fs::read_to_string("/etc/services").unwrap_or_default();
        table(&text, name, |value| value.split_once('/')?.0.parse().ok())
            .or_else(|| NumericNames.service(name))
    }

    fn protocol(&self, name: &str) -> Option<u8> {
        let text = fs::read_to_string("/etc/protocols").unwrap_or_default();
        table(&text, name, |value| value.parse().ok()).or_else(|| NumericNames.protocol(name))
    }

    fn service_name(&self, port: u16, protocol: u8) -> Option<String> {
        let kind = if protocol == 17 { "udp" } else { "tcp" };
        let text = fs::read_to_string("/etc/services").unwrap_or_default();
        let wanted = format!("{port}/{kind}");
        NumericNames.service_name(port, protocol).or_else(|| first_name(&text, &wanted))
    }

    fn protocol_name(&self, number: u8) -> Option<String> {
        let text = fs::read_to_string("/etc/protocols").unwrap_or_default();
        let known = NumericNames.protocol_name(number);
        known.or_else(|| first_name(&text, &number.to_string()))
    }

    fn hostname(&self) -> Option<String> {
        nix::unistd::gethostname().ok()?.into_string().ok().filter(|name| !name.is_empty())
    }
}

/// The addresses of one interface.
fn one(name: &str) -> Option<Vec<InterfaceAddress>> {
    let all = nix::ifaddrs::getifaddrs().ok()?;
    let mut found = None;
    for it in all.filter(|it| it.interface_name == name) {
        let addresses = found.get_or_insert_with(Vec::new);
        let Some(address) = it.address.as_ref().and_then(ip) else { continue };
        let mask = it.netmask.as_ref().and_then(ip);
        let full = if address.is_ipv4() { 32 } else { 128 };
        let (interface, length) = (it.interface_name, mask.map_or(full, ones));
        addresses.push(InterfaceAddress { interface, address, length });
    }
    found
}

fn ip(address: &nix::sys::socket::SockaddrStorage) -> Option<IpAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(IpAddr::V4(v4.ip()));
    }
    address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip()))
}

fn ones(mask: IpAddr) -> u8 {
    let count = match mask {
        IpAddr::V4(v4) => u32::from(v4).count_ones(),
        IpAddr::V6(v6) => u128::from(v6).count_ones(),
    };
    u8::try_from(count).unwrap_or(u8::MAX)
}

/// The name of the row of a table that has this value.
fn first_name(text: &str, value: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let mut words = line.split('#').next()?.split_whitespace();
        let name = words.next()?;
        (words.next()? == value).then(|| name.to_owned())
    })
}

/// A row of a table `name value alias…` that has this name or alias.
fn table<T>(text: &str, name: &str, value: impl Fn(&str) -> Option<T>) -> Option<T> {
    text.lines().find_map(|line| {
        let mut words = line.split('#').next()?.split_whitespace();
        let (first, second) = (words.next()?, words.next()?);
        (first == name || words.any(|alias| alias == name)).then(|| value(second)).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_aliases_and_comments() {
        let text = "# services\nhttp 80/tcp www # web\nsmtp\t25/tcp\tmail\n";
        let port = |name| table(text, name, |v| v.split_once('/')?.0.parse::<u16>().ok());
        assert_eq!(port("www"), Some(80));
        assert_eq!(port("mail"), Some(25));
        assert_eq!(port("web"), None);
    }
}
