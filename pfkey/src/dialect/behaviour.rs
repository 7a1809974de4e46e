//! How kernels behave where they behave differently, as facts that a daemon can ask for.
//! Seen on OpenBSD 7.6, FreeBSD 12.1, NetBSD 7.99 and Linux 6.1.

use super::{Dialect, kame, number, openbsd, rfc2367};

/// What dumps the SADB and the flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DumpBy {
    /// DUMP messages, answered one by one; the last has sequence number 0.
    Message,
    /// sysctl(2), net.key; DUMP messages would overflow the socket.
    Sysctl,
}

/// What a DUMP of nothing brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmptyDump {
    /// No message at all.
    Silence,
    /// One answer with this errno (ENOENT).
    Errno(u8),
}

/// Whether and how an SA is tied to an interface that routes lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interface {
    /// It cannot be asked for. (NetBSD's ipsecif(4) takes the SAs of a reqid that the kernel chose.)
    None,
    /// sec(4): the SA names its unit ([`SaSpec::iface`](crate::SaSpec::iface)).
    Unit {
        /// The interface's name before its unit.
        name: &'static str,
    },
    /// if_ipsec(4): the interface has flows of its own, and SAs with its reqid are its.
    Reqid {
        /// The interface's name before its unit.
        name: &'static str,
    },
}

/// How far a live SA can be given other addresses or ports ([`Request::Move`](crate::Request::Move)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moves {
    /// Both, by UPDATE; with `encap`, UDP encapsulation can be switched on and off too.
    Update {
        /// See above.
        encap: bool,
    },
    /// The addresses, by MIGRATE with the selector of its flow, which moves along; everybody is
    /// told by a message that names nobody. Ports change by UPDATE with the keys.
    Migrate,
    /// Not at all: it can be deleted and added under the same SPI, and counts from 1 again.
    Never,
}

/// What makes the kernel take ESP out of UDP (RFC 3948).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UdpEncapsulation {
    /// The port is the kernel's, sysctl `net.inet.esp.udpencap_port` (4500): bind that one.
    ByPort,
    /// This socket option (level IPPROTO_UDP, value 2) on the bound socket.
    ByOption(i32),
}

/// A socket option to be set: `setsockopt(fd, level, name, value)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SockOpt {
    /// Level.
    pub level: i32,
    /// Name.
    pub name: i32,
    /// Value, octet for octet.
    pub value: Vec<u8>,
}

/// How a kernel behaves where others behave otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Behaviour {
    /// Seconds that a larval SA lives after GETSPI; it goes without a message.
    pub larval_seconds: u32,
    /// A safe range for GETSPI. NetBSD panics for 0..=0xffffffff.
    pub spi_range: (u32, u32),
    /// Whether GETSPI for one SPI (min == max) can succeed: never on FreeBSD.
    pub spi_exact: bool,
    /// Whether a socket may REGISTER once more for the same protocol. Elsewhere that is EEXIST, and
    /// tells nothing: whoever takes over from another process needs a socket of its own.
    pub registers_again: bool,
    /// Whether flows and SAs have reqids at all. OpenBSD's are tied by addresses and identities.
    pub reqids: bool,
    /// Largest reqid that ties a flow to its SAs.
    pub reqid_max: u32,
    /// Whether HARD and SOFT lifetimes must come both or not at all.
    pub lifetimes_in_pairs: bool,
    /// Whether an SA never used is deleted at its **soft** limit, silently: then keep timers.
    pub soft_deletes_unused: bool,
    /// Whether an EXPIRE for the hard limit comes.
    pub hard_expire_told: bool,
    /// Whether lifetimes, NAT-T port or addresses of a live SA can be changed by UPDATE without
    /// harm. NetBSD resets sequence numbers; Linux wants the keys again.
    pub update_live: bool,
    /// Whether the SAs of a bundle must be tied together by
    /// [`Request::Group`](crate::Request::Group), each to the one around it; GET then tells only of the
    /// outermost. Elsewhere the flow names them all.
    pub groups: bool,
    /// Whether and how an SA is tied to an interface that routes lead to.
    pub interface: Interface,
    /// How far a live SA can be given other addresses or ports.
    pub moves: Moves,
    /// Whether an SA's UPDATE that fails destroys the larval SA: then GETSPI anew.
    pub failed_update_destroys: bool,
    /// Whether UPDATE must name the mode and reqid that GETSPI named; where they were not known
    /// then, delete the larval SA and add one under its SPI.
    pub larval_keeps_reqid: bool,
    /// Whether UPDATE must carry the process id of the GETSPI.
    pub update_same_pid: bool,
    /// Whether ENOBUFS from write(2) may mean "done, the answer is lost": then ask with GET.
    pub enobufs_may_be_done: bool,
    /// Largest message taken, in octets.
    pub message_max: usize,
    /// Largest receive buffer that setsockopt(2) takes at once.
    pub receive_buffer: usize,
    /// Whether answers to ADD, UPDATE, DELETE... go to every PF_KEY socket.
    pub replies_broadcast: bool,
    /// Whether an error answer repeats the whole request, keys included.
    pub errors_echo_request: bool,
    /// What dumps.
    pub dump: DumpBy,
    /// What a DUMP of nothing brings.
    pub empty_dump: EmptyDump,
    /// Whether answers to DUMP wake a reader that sleeps; if not, read at once after asking.
    pub dump_wakes_reader: bool,
    /// Whether a flow between two neighbours catches IPv6 neighbour discovery too, which then
    /// needs a bypass of its own: seen on Linux, not tried elsewhere.
    pub catches_neighbour_discovery: bool,
    /// The IP protocols of which a flow looks at the ports, or ICMP's type (as source port) and code.
    /// OpenBSD and KAME kernels take 0 for those of others, so that a flow by them is never used.
    pub ports_of: &'static [u8],
    /// Whether the ports of a flow may have other masks than none and all.
    pub port_masks: bool,
    /// Whether an SA in tunnel mode carries IPv4 or IPv6, not both: seen on Linux.
    pub one_inner_family: bool,
    /// Whether the oldest of several SAs is used for output: then delete it after a rekey.
    pub old_sa_preferred: bool,
    /// Whether the kernel says that a peer's NAT mapping changed.
    pub tells_new_mapping: bool,
    /// Whether a FLUSH of all protocols deletes the flows too.
    pub flush_takes_flows: bool,
    /// errno for "no such SA" in an answer to UPDATE, GET or DELETE.
    pub no_such_sa: &'static [u8],
    /// errno for "no such flow" in an answer to a deletion.
    pub no_such_flow: &'static [u8],
    /// What makes the kernel take ESP out of UDP.
    pub udp_encapsulation: UdpEncapsulation,
}

/// IP protocols with ports, or types and codes.
pub(super) const ICMP: u8 = 1;
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const DCCP: u8 = 33;
pub(super) const ICMPV6: u8 = 58;
pub(super) const SCTP: u8 = 132;
pub(super) const UDP_LITE: u8 = 136;

const IPPROTO_IP: i32 = 0;
const IPPROTO_UDP: i32 = 17;
const IPPROTO_IPV6: i32 = number(rfc2367::CONSTANTS, "IPPROTO_IPV6") as i32;
/// UDP_ENCAP_ESPINUDP of `netinet/udp.h` and `linux/udp.h`.
const ESP_IN_UDP: i32 = 2;

impl Dialect {
    /// Socket options that let an IKE socket talk past all flows (both directions).
    pub fn bypass_options(&self, ipv6: bool) -> Vec<SockOpt> {
        match self.name {
            "openbsd" => openbsd_levels(ipv6),
            name => {
                let option = match (name, ipv6) {
                    ("linux", false) => super::linux::IP_IPSEC_POLICY,
                    ("linux", true) => super::linux::IPV6_IPSEC_POLICY,
                    ("freebsd", false) => super::freebsd::IP_IPSEC_POLICY,
                    (_, false) => super::netbsd::IP_IPSEC_POLICY,
                    (_, true) => number(kame::BSD_CONSTANTS, "IPV6_IPSEC_POLICY"),
                };
                let level = if ipv6 { IPPROTO_IPV6 } else { IPPROTO_IP };
                [kame::DIR_IN, kame::DIR_OUT]
                    .into_iter()
                    .map(|dir| SockOpt {
                        level,
                        name: option as i32,
                        value: crate::ext::bypass_policy(self, dir),
                    })
                    .collect()
            }
        }
    }

    /// The socket option that makes a bound UDP socket hand ESP to the kernel; `None` where the
    /// port alone does it.
    pub fn udp_encap_option(&self) -> Option<SockOpt> {
        match self.behaviour.udp_encapsulation {
            UdpEncapsulation::ByPort => None,
            UdpEncapsulation::ByOption(name) => {
                Some(SockOpt { level: IPPROTO_UDP, name, value: ESP_IN_UDP.to_ne_bytes().to_vec() })
            }
        }
    }
}

fn openbsd_levels(ipv6: bool) -> Vec<SockOpt> {
    let (level, names) =
        if ipv6 { (IPPROTO_IPV6, openbsd::IPV6_LEVELS) } else { (IPPROTO_IP, openbsd::IP_LEVELS) };
    let bypass = openbsd::LEVEL_BYPASS as i32;
    names
        .into_iter()
        .map(|name| SockOpt { level, name: name as i32, value: bypass.to_ne_bytes().to_vec() })
        .collect()
}
