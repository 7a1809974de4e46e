//! What peers gave us, set on this host: addresses, routes, name servers; and everything taken back.
//!
//! What is set is written to a file before it is set. Whatever way the daemon ends, the next one reads
//! the file and takes back what is left.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::resolver::{self, Wish};
use crate::conf::{CfgOption, Config, Policy, Prefix, counted};
use crate::ike::inner::{HostChange, HostConfig};
use crate::log::Log;
use crate::sys::host;

/// The name of the file in the directory for state.
const NAME: &str = "host";
/// How long what an `ike` process left is borne until its successor has it again.
const ORPHANED: Duration = Duration::from_secs(60);
/// How much one peer may have us set.
const MOST_ROUTES: usize = 64;

/// One thing that is set. What was there already is none of ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Step {
    /// An address on an interface.
    Address { iface: String, address: IpAddr, length: u8 },
    /// A network through the tunnel.
    Route { network: IpAddr, length: u8, source: IpAddr, peer: IpAddr },
    /// Name servers.
    Resolver(Wish),
}

/// What is set, and for whom.
#[derive(Debug, Default)]
pub struct Host {
    directory: PathBuf,
    wanted: BTreeMap<u64, HostConfig>,
    /// Of an `ike` process that died: until then.
    orphans: Vec<(HostConfig, Instant)>,
    set: Vec<Step>,
    /// What could not be set: it is said once.
    failed: Vec<Step>,
}

impl Host {
    /// Takes back what an earlier daemon left.
    pub fn open(directory: &Path, log: &mut Log) -> Self {
        let mut host = Self { directory: directory.to_owned(), ..Self::default() };
        let left = fs::read(host.file()).ok();
        let left: Option<Vec<Step>> = left.and_then(|text| postcard::from_bytes(&text).ok());
        host.set = left.unwrap_or_default();
        if !host.set.is_empty() {
            log.notice(format!(
                "an earlier oakd left {} on this host (addresses, routes, name servers): taken back",
                counted(host.set.len(), "setting", "settings")
            ));
            host.settle(log);
        }
        host
    }

    /// The `ike` process wants a change. It is done as far as the configuration allows it.
    pub fn change(&mut self, change: HostChange, config: &Config, log: &mut Log) {
        match change {
            HostChange::Apply(wanted) => match allowed(*wanted, config) {
                Ok(wanted) => {
                    self.orphans.retain(|(orphan, _)| orphan.policy != wanted.policy);
                    self.wanted.insert(wanted.key, wanted);
                }
                Err(why) => return log.error(format!("nothing is set on this host: {why}")),
            },
            HostChange::Withdraw(key) => drop(self.wanted.remove(&key)),
        }
        self.settle(log);
    }

    /// The `ike` process died. Its SAs carry traffic until the next one has new ones.
    pub fn orphan(&mut self) {
        let until = Instant::now() + ORPHANED;
        let left = std::mem::take(&mut self.wanted).into_values();
        self.orphans.extend(left.map(|config| (config, until)));
    }

    /// Whether an address is one that a peer gave us.
    pub fn has(&self, address: IpAddr) -> bool {
        let is = |step: &Step| matches!(step, Step::Address { address: it, .. } if *it == address);
        self.set.iter().any(is)
    }

    /// When [`Host::expire`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        self.orphans.iter().map(|(_, until)| *until).min()
    }

    /// Takes back what no successor wanted.
    pub fn expire(&mut self, log: &mut Log) {
        let (now, before) = (Instant::now(), self.orphans.len());
        self.orphans.retain(|(_, until)| *until > now);
        if self.orphans.len() < before {
            self.settle(log);
        }
    }

    /// Takes everything back.
    pub fn end(&mut self, log: &mut Log) {
        self.wanted.clear();
        self.orphans.clear();
        self.settle(log);
    }

    fn file(&self) -> PathBuf {
        self.directory.join(NAME)
    }

    /// Makes what is set what is wanted.
    fn settle(&mut self, log: &mut Log) {
        let steps = self.steps();
        self.failed.retain(|step| steps.contains(step));
        for at in (0..self.set.len()).rev() {
            if !steps.contains(&self.set[at]) {
                let step = self.set.remove(at);
                if let Err(error) = step.undo(&self.directory) {
                    log.error(format!("{} is not taken back: {error}", step.told()));
                }
            }
        }
        self.write(log);
        for step in steps {
            if self.set.contains(&step) || self.failed.contains(&step) {
                continue;
            }
            self.set.push(step);
            self.write(log);
            let Some(step) = self.set.last() else { continue };
            match step.apply(&self.directory) {
                Ok(()) => log.info(format!("set: {}", step.told())),
                Err(Fault::There) => {
                    log.info(format!("{} was there before and will stay", step.told()));
                    self.failed.extend(self.set.pop());
                    self.write(log);
                }
                Err(Fault::Error(error)) => {
                    log.error(format!("{} cannot be set: {error}", step.told()));
                    self.failed.extend(self.set.pop());
                    self.write(log);
                }
            }
        }
    }

    /// Everything that is wanted, each once, in the order in which it is set.
    fn steps(&self) -> Vec<Step> {
        let all = self.orphans.iter().map(|(config, _)| config).chain(self.wanted.values());
        let with_iface = all.filter_map(|config| Some((config, config.iface.clone()?)));
        let (mut addresses, mut routes, mut names) = (Vec::new(), Vec::new(), None);
        for (config, iface) in with_iface {
            addresses.extend(config.addresses.iter().map(|(address, length)| Step::Address {
                iface: iface.clone(),
                address: *address,
                length: *length,
            }));
            let source = |ipv4| {
                let mut all = config.addresses.iter().map(|(address, _)| *address);
                all.find(|address| address.is_ipv4() == ipv4)
            };
            for part in config.routes.iter().flat_map(halves) {
                let network = part.address();
                if let Some(source) = source(network.is_ipv4()) {
                    let (length, peer) = (part.length(), config.peer);
                    routes.push(Step::Route { network, length, source, peer });
                }
            }
            if !config.name_servers.is_empty() {
                // The last who has some has the say.
                let (servers, domains) = (config.name_servers.clone(), config.domains.clone());
                names = Some(Step::Resolver(Wish { iface, servers, domains }));
            }
        }
        let mut steps = Vec::new();
        for step in addresses.into_iter().chain(routes).chain(names) {
            if !steps.contains(&step) {
                steps.push(step);
            }
        }
        steps
    }

    fn write(&self, log: &mut Log) {
        let (file, fresh) = (self.file(), self.directory.join("host.new"));
        let outcome = match self.set.is_empty() {
            true => match fs::remove_file(&file) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                other => other,
            },
            false => postcard::to_stdvec(&self.set)
                .map_err(io::Error::other)
                .and_then(|text| fs::write(&fresh, text))
                .and_then(|()| fs::rename(&fresh, &file)),
        };
        if let Err(error) = outcome {
            log.error(format!(
                "{}: {error}; after a crash addresses and routes would be left",
                file.display()
            ));
        }
    }
}

/// What the policy of this name lets its peer set; the rest of the request is not believed.
fn allowed(wanted: HostConfig, config: &Config) -> Result<HostConfig, String> {
    let policy = config.policies.iter().find(|policy| policy.name == wanted.policy);
    let policy = policy.ok_or("the policy is gone")?;
    let asks = |option| policy.wanted.iter().any(|it| it.option == option);
    let addresses_fit = asks(CfgOption::Address) || wanted.addresses.is_empty();
    let names_fit = asks(CfgOption::NameServer) || wanted.name_servers.is_empty();
    let few = wanted.addresses.len() <= 2
        && wanted.routes.len() <= MOST_ROUTES
        && wanted.name_servers.len() <= MOST_ROUTES
        && wanted.domains.len() <= MOST_ROUTES;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let names = wanted.domains.iter().all(|domain| domain.chars().all(plain));
    if !addresses_fit
        || !names_fit
        || !few
        || !names
        || !wanted.routes.iter().all(|route| routed(policy, route))
    {
        return Err(format!("policy {} did not ask for that", policy.name.0));
    }
    Ok(HostConfig { iface: policy.iface.clone(), ..wanted })
}

/// Whether a network lies within what the policy has on the peer's side.
fn routed(policy: &Policy, route: &Prefix) -> bool {
    policy.flows.iter().any(|flow| match flow.remote.addresses {
        crate::conf::FlowAddresses::Prefix(prefix) => {
            prefix.length() <= route.length() && prefix.contains(route.address())
        }
        crate::conf::FlowAddresses::Dynamic => true,
    })
}

/// Everything is sent in two halves: the way that leads there now stays, and is there again later.
fn halves(prefix: &Prefix) -> Vec<Prefix> {
    if prefix.length() > 0 {
        return vec![*prefix];
    }
    let upper: IpAddr = match prefix.address() {
        IpAddr::V4(_) => [128, 0, 0, 0].into(),
        IpAddr::V6(_) => [0x8000, 0, 0, 0, 0, 0, 0, 0].into(),
    };
    [prefix.address(), upper].into_iter().filter_map(|half| Prefix::new(half, 1)).collect()
}

/// Why a step was not taken.
enum Fault {
    /// It was there before.
    There,
    /// In words.
    Error(String),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::AlreadyExists => Self::There,
            _ => Self::Error(error.to_string()),
        }
    }
}

impl Step {
    fn apply(&self, state: &Path) -> Result<(), Fault> {
        match self {
            Step::Address { iface, address, length } => host::add_address(iface, *address, *length)
                .map_err(|error| match Fault::from(error) {
                    Fault::Error(error) => Fault::Error(format!(
                        "{error}; is there an interface {iface}, and is it up?"
                    )),
                    there => there,
                }),
            Step::Route { network, length, source, peer } => {
                Ok(host::add_route((*network, *length), *source, *peer)?)
            }
            Step::Resolver(wish) => resolver::set(wish, state).map_err(Fault::Error),
        }
    }

    fn undo(&self, state: &Path) -> Result<(), String> {
        match self {
            Step::Address { iface, address, length } => {
                host::delete_address(iface, *address, *length).map_err(|error| error.to_string())
            }
            Step::Route { network, length, source, peer } => {
                let network = (*network, *length);
                host::delete_route(network, *source, *peer).map_err(|error| error.to_string())
            }
            Step::Resolver(wish) => resolver::reset(wish, state),
        }
    }

    fn told(&self) -> String {
        match self {
            Step::Address { iface, address, length } => {
                format!("address {address}/{length} on {iface}")
            }
            Step::Route { network, length, source, .. } => {
                format!("route to {network}/{length} from {source}")
            }
            Step::Resolver(wish) => {
                let servers: Vec<_> = wish.servers.iter().map(ToString::to_string).collect();
                format!("name servers {}", servers.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::conf::PolicyName;

    fn config(key: u64, policy: &str, address: &str) -> HostConfig {
        HostConfig {
            key,
            policy: PolicyName(policy.into()),
            iface: Some("lo1".into()),
            peer: "192.0.2.2".parse().unwrap(),
            addresses: vec![(address.parse().unwrap(), 32)],
            routes: vec![Prefix::new("0.0.0.0".parse().unwrap(), 0).unwrap()],
            name_servers: Vec::new(),
            domains: Vec::new(),
        }
    }

    #[test]
    fn what_two_want_is_set_once_and_everything_goes_in_halves() {
        let mut host = Host::default();
        host.wanted.insert(1, config(1, "a", "10.0.0.5"));
        host.wanted.insert(2, config(2, "a", "10.0.0.5"));
        let told: Vec<_> = host.steps().iter().map(Step::told).collect();
        let wanted = [
            "address 10.0.0.5/32 on lo1",
            "route to 0.0.0.0/1 from 10.0.0.5",
            "route to 128.0.0.0/1 from 10.0.0.5",
        ];
        assert_eq!(told, wanted);
        host.wanted.remove(&1);
        assert_eq!(host.steps().len(), 3);
        host.orphan();
        assert_eq!(host.steps().len(), 3);
        assert!(host.deadline().is_some());
    }

    #[test]
    fn without_an_interface_nothing_is_set() {
        let mut host = Host::default();
        host.wanted.insert(1, HostConfig { iface: None, ..config(1, "a", "10.0.0.5") });
        assert!(host.steps().is_empty());
    }

    #[test]
    fn nothing_is_set_that_the_policy_did_not_ask_for() {
        let text = "ikev2 \"a\" active from dynamic to 10.2.0.0/16 peer 192.0.2.2 psk \"x\" \
                    request address any iface lo1\n";
        let files = crate::conf::MemoryFiles::default().with("c", text);
        let checked = crate::conf::load("c", &[], &files, &crate::conf::NumericNames).unwrap();
        let with = |change: &dyn Fn(&mut HostConfig)| {
            let mut wanted = config(1, "a", "10.0.0.5");
            wanted.routes = vec![Prefix::new("10.2.3.0".parse().unwrap(), 24).unwrap()];
            wanted.iface = Some("em0".into());
            change(&mut wanted);
            allowed(wanted, &checked.config)
        };
        // The interface is the policy's, whatever the request says.
        assert_eq!(with(&|_| ()).unwrap().iface.as_deref(), Some("lo1"));
        let elsewhere = Prefix::new("10.3.0.0".parse().unwrap(), 24).unwrap();
        assert!(with(&|it| it.routes.push(elsewhere)).is_err());
        assert!(with(&|it| it.name_servers.push("10.2.0.53".parse().unwrap())).is_err());
        assert!(with(&|it| it.domains.push("a\nb".into())).is_err());
        assert!(with(&|it| it.policy = PolicyName("b".into())).is_err());
    }
}
