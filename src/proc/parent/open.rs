//! What only root can open, and what must be right before anything is started.

use std::fs::DirBuilder;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use super::host::Host;
use super::leases::Leases;
use super::record::Record;
use crate::conf::Family;
use crate::ike::report::Level;
use crate::log::Log;
use crate::net::{self, Spec};
use crate::proc::options::{KernelAt, Options};

/// The user and the directory must be there before anything is started.
pub fn check_user(options: &Options) -> Result<(), String> {
    let user = &options.user;
    match nix::unistd::User::from_name(user) {
        Ok(Some(found)) if found.uid.is_root() => {
            Err(format!("user {user} is root: name an ordinary user with -u"))
        }
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err(format!("there is no user {user}: create it, or name another with -u")),
        Err(error) => Err(format!("looking up user {user}: {error}")),
    }?;
    let root = options.root.display();
    if !options.root.exists() {
        std::fs::create_dir(&options.root).map_err(|error| format!("creating {root}: {error}"))?;
    }
    // Whoever could write there could set traps for a process that is in it.
    match std::fs::metadata(&options.root) {
        Ok(found) if !found.is_dir() => Err(format!("{root} is not a directory")),
        Ok(found) if found.uid() != 0 || found.mode() & 0o022 != 0 => {
            Err(format!("{root} can be written by others than root: choose another with -c"))
        }
        Ok(_) => Ok(()),
        Err(error) => Err(format!("{root}: {error}")),
    }
}

/// Opens the four UDP sockets; a machine without one address family does with the other.
pub fn udp(
    options: &Options,
    decoupled: bool,
    log: &mut Log,
) -> Result<Vec<(Spec, OwnedFd)>, String> {
    let (ike, natt) = options.ports;
    let mut sockets = Vec::new();
    for family in [Family::Inet, Family::Inet6] {
        for (port, encap) in [(ike, false), (natt, true)] {
            let spec = Spec { family, port, encap };
            match net::open(spec) {
                Ok((fd, remarks)) => {
                    let level = match decoupled {
                        true => Level::Debug,
                        false => Level::Notice,
                    };
                    remarks.into_iter().for_each(|remark| log.line(level, remark));
                    sockets.push((spec, fd));
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    return Err(format!("{spec} is in use: is another IKE daemon running?"));
                }
                Err(error) => log.notice(format!("{spec}: {error}; doing without")),
            }
        }
    }
    match sockets.is_empty() {
        true => Err("no UDP socket could be opened".into()),
        false => Ok(sockets),
    }
}

/// Opens what earlier daemons kept, and takes back what they left set on this host.
pub fn state(options: &Options, log: &mut Log) -> (Host, Leases, Record) {
    let directory = &options.state;
    let mut failed = |error: io::Error, what: &str| {
        log.error(format!("{}: {error}; {what}", directory.display()));
    };
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    let leases = made.and_then(|()| Leases::open(directory)).unwrap_or_else(|error| {
        failed(error, "who has which address will not be known after a restart");
        Leases::default()
    });
    let mut record = Record::open(directory).unwrap_or_else(|error| {
        failed(error, "not all that is left in the kernel will be known after a crash");
        Record::default()
    });
    if let Some(flows) = told_flows(&options.kernel) {
        record.compare(&flows);
    }
    (Host::open(directory, log), leases, record)
}

/// The flows in a kernel that tells them only to who has this much privilege (OpenBSD).
fn told_flows(at: &KernelAt) -> Option<Vec<pfkey::Flow>> {
    let dialect = pfkey::Dialect::by_name(&at.dialect).filter(|_| at.relay.is_none())?;
    // Elsewhere this is not how it is told.
    let octets = pfkey::socket::dump(pfkey::socket::Dump::Flows).ok()?;
    let mut flows = Vec::new();
    for message in pfkey::message::split(&octets) {
        if let Ok(pfkey::Incoming::Reply(reply)) = dialect.interpret(message)
            && let pfkey::ReplyData::Flow(info) = reply.data
        {
            flows.push(info.flow);
        }
    }
    Some(flows)
}

/// Opens the road to the kernel's SADB.
pub fn kernel(at: &KernelAt) -> Result<OwnedFd, String> {
    if let Some(path) = &at.relay {
        let connected = pfkey::Socket::relay(path).map(OwnedFd::from);
        return connected.map_err(|error| {
            format!("{}: {error}; does a relay to a kernel listen there?", path.display())
        });
    }
    pfkey::Socket::open().map(OwnedFd::from).map_err(|error| {
        format!(
            "PF_KEY: {error}; the kernel needs IPsec (Linux: modprobe af_key esp4 esp6; FreeBSD: \
             kldload ipsec), or `set decouple` in the configuration does without"
        )
    })
}

/// Listens on the control socket, which only root may use. One that a dead daemon left is replaced.
pub fn listener(path: &Path) -> Result<UnixListener, String> {
    let said = |error: io::Error| format!("control socket {}: {error}", path.display());
    if UnixStream::connect(path).is_ok() {
        return Err(format!("control socket {}: another oakd answers there", path.display()));
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(said(error)),
        _ => (),
    }
    let mask = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o177));
    let listener = UnixListener::bind(path);
    nix::sys::stat::umask(mask);
    let listener = listener.map_err(said)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(said)?;
    listener.set_nonblocking(true).map_err(said)?;
    Ok(listener)
}
