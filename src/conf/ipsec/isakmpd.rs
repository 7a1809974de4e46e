//! What an `ike` entry means, in the commands of isakmpd(8)'s FIFO: `C set [section]:tag=value`
//! sets one value of its configuration, `C add` adds to a list, `C rmv` takes from it, `C rms`
//! removes a section, `t` tears a connection down.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{AUTH, Address, ENC, GROUP, IkeEntry, IkeMode, Kind, Phase, Transform, transform};
use crate::conf::Mode;
use crate::conf::source::Names;

/// isakmpd's check intervals for a rule that is `dynamic`: of connections, and of dead peers.
const DYNAMIC_CHECKS: [(&str, u32); 2] = [("Check-interval", 30), ("DPD-check-interval", 5)];

/// The names of an entry's sections.
struct Sections {
    /// The peer (phase 1).
    peer: String,
    /// The connection (phase 2).
    connection: String,
    /// What it protects on our side.
    local: String,
    /// What our side is translated to.
    nat: Option<String>,
    /// What it protects on the peer's side.
    remote: String,
}

impl Sections {
    fn of(entry: &IkeEntry) -> Self {
        let peer = match (&entry.peer, &entry.local) {
            (Some(peer), Some(local)) => format!("peer-{}-local-{}", peer.name, local.name),
            (Some(peer), None) => format!("peer-{}", peer.name),
            (None, _) => "peer-default".to_owned(),
        };
        let some = |mark: &str, number: u16| match number {
            0 => String::new(),
            number => format!("{mark}{number}"),
        };
        let protocol = some("=", entry.protocol.into());
        let src_port = some(":", entry.src_port);
        let (local, remote) = match entry.rule.interface {
            Some(unit) => (format!("from-sec{unit}"), format!("to-sec{unit}")),
            None => (
                format!("from-{}{protocol}{src_port}", entry.src.name),
                format!("to-{}{protocol}{}", entry.dst.name, some(":", entry.dst_port)),
            ),
        };
        let nat = entry.src.srcnat.as_ref();
        let nat = nat.map(|nat| format!("nat-{}{protocol}{src_port}", nat.name));
        Self { peer, connection: format!("{local}-{remote}"), local, nat, remote }
    }
}

/// Writes commands into a text.
struct Commands<'a>(&'a mut String);

impl Commands<'_> {
    fn line(&mut self, line: impl AsRef<str>) {
        self.0.push_str(line.as_ref());
        self.0.push('\n');
    }

    fn set(&mut self, section: &str, tag: &str, value: impl Display) {
        self.line(format!("C set [{section}]:{tag}={value} force"));
    }
}

/// The commands that add an entry.
///
/// # Errors
///
/// What isakmpd cannot do, in ipsecctl's words; the commands before it are written.
pub fn add(out: &mut String, entry: &IkeEntry, hostname: Option<&str>) -> Result<(), String> {
    let names = Sections::of(entry);
    let mut commands = Commands(out);
    let dynamic = entry.rule.mode == Some(IkeMode::Dynamic);
    if dynamic {
        for (tag, seconds) in DYNAMIC_CHECKS {
            commands.set("General", tag, seconds);
        }
    }
    peer(&mut commands, entry, &names);
    phase1(&mut commands, entry, &names)?;
    let ours = entry.rule.ends.srcid.as_deref();
    let ours = ours.or(hostname.filter(|_| dynamic));
    identity(&mut commands, &names.peer, "ID", ours);
    identity(&mut commands, &names.peer, "Remote-ID", entry.rule.ends.dstid.as_deref());
    connection(&mut commands, entry, &names);
    phase2(&mut commands, entry, &names)?;
    traffic(&mut commands, entry, &names);
    commands.line(format!("C add [Phase 2]:{}={}", list(entry), names.connection));
    Ok(())
}

/// Whether isakmpd could do what an entry wants.
///
/// # Errors
///
/// What it could not, in ipsecctl's words.
pub(in crate::conf) fn is_sound(entry: &IkeEntry, names: &dyn Names) -> Result<(), String> {
    add(&mut String::new(), entry, names.hostname().as_deref())
}

/// The commands that remove an entry.
pub fn delete(out: &mut String, entry: &IkeEntry) {
    let Sections { connection, .. } = Sections::of(entry);
    let mut commands = Commands(out);
    commands.line(format!("t {connection}"));
    commands.line(format!("C rmv [Phase 2]:{}={connection}", list(entry)));
    commands.line(format!("C rms [{connection}]"));
    commands.line(format!("C rms [phase2-{connection}]"));
}

/// The list of connections that the entry belongs to.
fn list(entry: &IkeEntry) -> &'static str {
    match entry.rule.mode {
        Some(IkeMode::Passive) => "Passive-Connections",
        Some(IkeMode::Active | IkeMode::Dynamic) | None => "Connections",
    }
}

fn peer(commands: &mut Commands<'_>, entry: &IkeEntry, names: &Sections) {
    let address = entry.peer.as_ref().map(|peer| peer.name.as_str());
    commands.set("Phase 1", address.unwrap_or("Default"), &names.peer);
    commands.set(&names.peer, "Phase", 1);
    if let Some(address) = address {
        commands.set(&names.peer, "Address", address);
    }
    if let Some(local) = &entry.local {
        commands.set(&names.peer, "Local-address", &local.name);
    }
    if let Some(psk) = &entry.rule.psk {
        commands.set(&names.peer, "Authentication", String::from_utf8_lossy(psk.octets()));
    }
}

fn phase1(commands: &mut Commands<'_>, entry: &IkeEntry, names: &Sections) -> Result<(), String> {
    let phase = entry.rule.phase1.as_ref();
    let section = format!("phase1-{}", names.peer);
    let aggressive = phase.is_some_and(|p| p.aggressive);
    commands.set(&names.peer, "Configuration", &section);
    commands.set(&section, "EXCHANGE_TYPE", if aggressive { "AGGRESSIVE" } else { "ID_PROT" });
    let chosen = phase.map(|p| p.algorithms.clone()).unwrap_or_default();
    let known = |row: Option<&'static Transform>, what: &str| match row {
        Some(row) if !row.phase1 || row.isakmpd.is_empty() => {
            Err(format!("illegal {what} {}", row.word))
        }
        row => Ok(row),
    };
    let enc = known(chosen.enc, "transform")?.or(transform("aes", ENC));
    let auth = known(chosen.auth, "transform")?.or(transform("hmac-sha1", AUTH));
    let group = known(chosen.group, "group")?.or(transform("modp3072", GROUP));
    let (Some(enc), Some(auth), Some(group)) = (enc, auth, group) else { return Ok(()) };
    let method = if entry.rule.psk.is_some() { "PRE_SHARED" } else { "RSA_SIG" };
    let transform = format!(
        "phase1-transform-{}-{method}-{}-{}{}-{}",
        names.peer,
        auth.isakmpd,
        enc.isakmpd,
        offered_bits(enc),
        group.isakmpd
    );
    commands.line(format!("C add [{section}]:Transforms={transform} force"));
    commands.set(&transform, "AUTHENTICATION_METHOD", method);
    commands.set(&transform, "HASH_ALGORITHM", auth.isakmpd);
    commands.set(&transform, "ENCRYPTION_ALGORITHM", format!("{}_CBC", enc.isakmpd));
    if let Some(length) = enc.key_length {
        commands.set(&transform, "KEY_LENGTH", length);
    }
    commands.set(&transform, "GROUP_DESCRIPTION", group.isakmpd);
    life(commands, &transform, phase, "LIFE_MAIN_MODE");
    Ok(())
}

/// The key length offered, as it stands in the names of transforms.
fn offered_bits(row: &Transform) -> &str {
    row.key_length.and_then(|length| length.split(',').next()).unwrap_or("")
}

fn life(commands: &mut Commands<'_>, transform: &str, phase: Option<&Phase>, usual: &str) {
    let Some(seconds) = phase.and_then(|p| p.lifetime) else {
        return commands.set(transform, "Life", usual);
    };
    let section = format!("{transform}-life");
    let kilobytes = phase.and_then(|p| p.bytes).map(|bytes| bytes.div_ceil(1024));
    let limit = format!("{section}-kilobytes");
    match kilobytes {
        Some(_) => commands.set(transform, "Life", format!("{section},{limit}")),
        None => commands.set(transform, "Life", &section),
    }
    commands.set(&section, "LIFE_TYPE", "SECONDS");
    commands.set(&section, "LIFE_DURATION", seconds);
    if let Some(kilobytes) = kilobytes {
        commands.set(&limit, "LIFE_TYPE", "KILOBYTES");
        commands.set(&limit, "LIFE_DURATION", kilobytes);
    }
}

fn identity(commands: &mut Commands<'_>, peer: &str, tag: &str, identity: Option<&str>) {
    let Some(identity) = identity else { return };
    let section = format!("id-{identity}");
    let (id_type, value) = match identity.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => ("IPV4_ADDR", "Address"),
        Ok(IpAddr::V6(_)) => ("IPV6_ADDR", "Address"),
        Err(_) if identity.contains('@') => ("USER_FQDN", "Name"),
        Err(_) => ("FQDN", "Name"),
    };
    commands.set(peer, tag, &section);
    commands.set(&section, "ID-type", id_type);
    commands.set(&section, value, identity);
}

fn connection(commands: &mut Commands<'_>, entry: &IkeEntry, names: &Sections) {
    let section = &names.connection;
    commands.set(section, "Phase", 2);
    commands.set(section, "ISAKMP-peer", &names.peer);
    commands.set(section, "Configuration", format!("phase2-{section}"));
    commands.set(section, "Local-ID", &names.local);
    if let Some(nat) = &names.nat {
        commands.set(section, "NAT-ID", nat);
    }
    commands.set(section, "Remote-ID", &names.remote);
    if let Some(tag) = &entry.rule.tag {
        commands.set(section, "PF-Tag", tag);
    }
    if let Some(unit) = entry.rule.interface {
        commands.set(section, "Interface", unit);
    }
}

fn phase2(commands: &mut Commands<'_>, entry: &IkeEntry, names: &Sections) -> Result<(), String> {
    let name = &names.connection;
    let (suite, protocol) = (format!("phase2-suite-{name}"), format!("phase2-protocol-{name}"));
    commands.set(&format!("phase2-{name}"), "EXCHANGE_TYPE", "QUICK_MODE");
    commands.set(&format!("phase2-{name}"), "Suites", &suite);
    commands.set(&suite, "Protocols", &protocol);
    let ah = match entry.rule.kind() {
        Kind::Esp => false,
        Kind::Ah => true,
        kind => {
            // What ipsecctl has written when it finds out.
            commands.0.push_str(&format!("C set [{protocol}]:PROTOCOL_ID="));
            return Err(format!("illegal satype {}", kind.number()));
        }
    };
    commands.set(&protocol, "PROTOCOL_ID", if ah { "IPSEC_AH" } else { "IPSEC_ESP" });
    let phase = entry.rule.phase2.as_ref();
    let chosen = phase.map(|p| p.algorithms.clone()).unwrap_or_default();
    let known = |row: Option<&'static Transform>, what: &str| match row {
        Some(row) if row.isakmpd.is_empty() => Err(format!("illegal {what} {}", row.word)),
        row => Ok(row),
    };
    let enc = match (chosen.enc, ah) {
        (Some(enc), true) => return Err(format!("illegal transform {}", enc.word)),
        (None, true) => None,
        (enc, false) => known(enc, "transform")?.or(transform("aes", ENC)),
    };
    let alone = chosen.enc.is_some_and(|e| e.aead || e.word == "null");
    let usual = transform("hmac-sha2-256", AUTH).filter(|_| !alone);
    let auth = known(chosen.auth, "transform")?.or(usual);
    let group = known(chosen.group, "group")?.or(transform("modp3072", GROUP));
    let group = group.map(|g| g.isakmpd).filter(|g| *g != "NONE");
    let mode = match entry.rule.encapsulation {
        Some(Mode::Transport) => "TRANSPORT",
        Some(Mode::Tunnel) | None => "TUNNEL",
    };
    let or_none = |row: Option<&Transform>| row.map_or("NONE", |r| r.isakmpd);
    let section = format!(
        "phase2-transform-{name}-{}{}-{}-{}-{mode}",
        or_none(enc),
        enc.map_or("", offered_bits),
        or_none(auth),
        group.unwrap_or("NONE")
    );
    commands.set(&protocol, "Transforms", &section);
    commands.set(&section, "TRANSFORM_ID", or_none(if ah { auth } else { enc }));
    if let Some(length) = enc.and_then(|e| e.key_length) {
        commands.set(&section, "KEY_LENGTH", length);
    }
    commands.set(&section, "ENCAPSULATION_MODE", mode);
    if let Some(auth) = auth {
        commands.set(&section, "AUTHENTICATION_ALGORITHM", format!("HMAC_{}", auth.isakmpd));
    }
    if let Some(group) = group {
        commands.set(&section, "GROUP_DESCRIPTION", group);
    }
    life(commands, &section, phase, "LIFE_QUICK_MODE");
    Ok(())
}

fn traffic(commands: &mut Commands<'_>, entry: &IkeEntry, names: &Sections) {
    selector(commands, &names.local, &entry.src);
    if let (Some(section), Some(nat)) = (&names.nat, &entry.src.srcnat) {
        selector(commands, section, nat);
    }
    selector(commands, &names.remote, &entry.dst);
    if entry.protocol != 0 {
        commands.set(&names.local, "Protocol", entry.protocol);
        commands.set(&names.remote, "Protocol", entry.protocol);
    }
    if entry.src_port != 0 {
        commands.set(&names.local, "Port", entry.src_port);
    }
    if entry.dst_port != 0 {
        commands.set(&names.remote, "Port", entry.dst_port);
    }
}

fn selector(commands: &mut Commands<'_>, section: &str, address: &Address) {
    let family = if address.ip.is_ipv4() { 4 } else { 6 };
    let bare = address.name.split('/').next().unwrap_or_default();
    if !address.network {
        commands.set(section, "ID-type", format!("IPV{family}_ADDR"));
        commands.set(section, "Address", bare);
        return;
    }
    let ones = u32::from(address.length);
    let mask: IpAddr = match address.ip {
        IpAddr::V4(_) => Ipv4Addr::from(!u32::MAX.checked_shr(ones).unwrap_or(0)).into(),
        IpAddr::V6(_) => Ipv6Addr::from(!u128::MAX.checked_shr(ones).unwrap_or(0)).into(),
    };
    commands.set(section, "ID-type", format!("IPV{family}_ADDR_SUBNET"));
    commands.set(section, "Network", bare);
    commands.set(section, "Netmask", mask);
}
