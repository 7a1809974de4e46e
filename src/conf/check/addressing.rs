//! `config` and `request`: which addresses and names are meant.

use std::net::IpAddr;

use super::{Checker, Problem};
use crate::conf::source::literal;
use crate::conf::syntax::{ConfigOption, Host, Spanned};
use crate::conf::{AddressPool, CfgOption, Family, Prefix, Provision, Wanted};

/// The longest domain name, in octets (RFC 1035 section 2.3.4).
const DOMAIN_LIMIT: usize = 253;

impl Checker<'_> {
    /// What a rule gives and what it asks for.
    pub(super) fn addressing(
        &mut self,
        options: &[Spanned<ConfigOption>],
    ) -> (Provision, Vec<Wanted>) {
        let (mut provision, mut wanted) = (Provision::default(), Vec::new());
        for option in options.iter().map(|option| &option.value) {
            match option.request {
                true => wanted.extend(self.wanted(option)),
                false => self.provide(option, &mut provision),
            }
        }
        (provision, wanted)
    }

    /// One `request`. `any` is of IPv4, as in iked; the unspecified address of a family is any of it.
    fn wanted(&mut self, option: &ConfigOption) -> Option<Wanted> {
        if option.value.value == Host::Any {
            return Some(Wanted { option: option.option, family: Family::Inet, address: None });
        }
        let (address, _) = self.option_address(option)?;
        let family = if address.is_ipv4() { Family::Inet } else { Family::Inet6 };
        let address = Some(address).filter(|address| !address.is_unspecified());
        Some(Wanted { option: option.option, family, address })
    }

    fn provide(&mut self, option: &ConfigOption, into: &mut Provision) {
        if option.option == CfgOption::Domain {
            into.domains.extend(self.domain(option));
            return;
        }
        let Some((address, length)) = self.option_address(option) else { return };
        let full = if address.is_ipv4() { 32 } else { 128 };
        let whole = matches!(option.option, CfgOption::Address | CfgOption::ProtectedSubnet);
        if length != full && !whole {
            let sentence = format!("\"config {}\" takes one address", option.option.word());
            return self.error(option.value.place, Problem::says(sentence));
        }
        match option.option {
            CfgOption::Address => into.addresses.extend(AddressPool::new(address, length)),
            CfgOption::ProtectedSubnet => into.subnets.extend(Prefix::new(address, length)),
            CfgOption::NameServer => into.name_servers.push(address),
            CfgOption::NetbiosServer => into.netbios_servers.push(address),
            CfgOption::DhcpServer => into.dhcp_servers.push(address),
            CfgOption::AccessServer => into.access_servers.push(address),
            CfgOption::Netmask => {
                if let IpAddr::V4(mask) = address {
                    self.netmask(option, mask, into);
                }
            }
            CfgOption::Domain => {}
        }
    }

    fn netmask(&mut self, option: &ConfigOption, mask: std::net::Ipv4Addr, into: &mut Provision) {
        let bits = u32::from(mask);
        if bits.leading_ones() != bits.count_ones() {
            let problem = Problem::found(format!("\"{mask}\""), "a netmask such as 255.255.255.0");
            return self.error(option.value.place, problem);
        }
        if into.netmask.replace(mask).is_some() {
            let sentence = "\"config netmask\" stands in this rule already";
            self.error(option.value.place, Problem::says(sentence));
        }
    }

    fn domain(&mut self, option: &ConfigOption) -> Option<String> {
        let Host::Named { word, length: None } = &option.value.value else { return None };
        let name = word.trim_end_matches('.');
        let label = |label: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
            (1..=63).contains(&label.len()) && label.chars().all(plain)
        };
        if name.len() <= DOMAIN_LIMIT && name.split('.').all(label) {
            return Some(name.to_owned());
        }
        let problem = Problem::found(format!("\"{word}\""), "a DNS name such as corp.example.net");
        self.error(option.value.place, problem);
        None
    }

    /// The address of an option, and the length of its prefix.
    fn option_address(&mut self, option: &ConfigOption) -> Option<(IpAddr, u8)> {
        let Host::Named { word, length } = &option.value.value else { return None };
        let place = option.value.place;
        let found = match literal(word) {
            Some((address, bits)) => {
                let full = if address.is_ipv4() { 32 } else { 128 };
                let length = length.unwrap_or(i64::from(bits.unwrap_or(full)));
                let length = u8::try_from(length).ok().filter(|length| *length <= full);
                match length {
                    Some(length) => Some((address, length)),
                    None => {
                        let expected = format!("a prefix length of 0 to {full}");
                        let found = format!("\"{word}/{}\"", option_length(option));
                        self.error(place, Problem::found(found, expected));
                        return None;
                    }
                }
            }
            None => self.prefixes(&option.value)?.first().map(|p| (p.address(), p.length())),
        };
        let (address, length) = found?;
        let family = if address.is_ipv4() { Family::Inet } else { Family::Inet6 };
        if option.option.attribute(family).is_none() || option.option == CfgOption::Domain {
            let sentence = format!("\"{}\" is not known for this family", option.option.word());
            self.error(place, Problem::says(sentence));
            return None;
        }
        Some((address, length))
    }
}

fn option_length(option: &ConfigOption) -> i64 {
    match option.value.value {
        Host::Named { length: Some(length), .. } => length,
        _ => 0,
    }
}
