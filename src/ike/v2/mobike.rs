//! Mobility and multihoming (RFC 4555): the one who initiated first decides which addresses are used.
//!
//! ```text
//! leader (initiated the first IKE SA)            follower
//!   its address changes, or a request is
//!   answered by another pair of addresses
//!   UPDATE_SA_ADDRESSES, COOKIE2, NAT hashes -->  answers to where that came from
//!   moves the SAs             <-- COOKIE2, NAT hashes
//!                             <-- COOKIE2        is the leader really there?
//!   COOKIE2                   -->                moves the SAs
//! ```
//!
//! The follower goes nowhere before the check has come back by the new path: the addresses of a datagram
//! are not protected, and nobody is to be able to turn traffic upon a third party, or away.

use std::net::{IpAddr, SocketAddr};

use super::established::Established;
use super::message::send_request;
use super::rules::Bag;
use super::tasks::{Active, Task};
use crate::conf::{FlowAddresses, Mode, Policy};
use crate::ike::core::Core;
use crate::ike::frame::Frame;
use crate::ike::inner::{Given, Inner};
use crate::ike::natt::{self, Nat, Path};
use crate::ike::report::{Event, Gone};
use crate::wire::iana::v2::{ExchangeType, NotifyType};
use crate::wire::v2::{Notify, Payload};

/// The most further addresses that we tell, and keep of what a peer tells.
const MOST_ADDRESSES: usize = 8;

/// The most pairs of addresses that are tried.
const MOST_PAIRS: usize = 16;

/// Octets of our COOKIE2; 8 to 64 are allowed (RFC 4555 §4.2.5).
const COOKIE_LEN: usize = 16;

/// How often a request is sent by its first path before others are tried.
const FIRST_PATH: u32 = 2;

/// Which sending of the follower's check goes by the old path: there it is answered if the move was a lie.
const OLD_PATH: u32 = 4;

/// What an IKE SA whose ends may move knows.
#[derive(Debug, Clone)]
pub struct Mobility {
    /// We initiated the first of the IKE SAs, and decide.
    pub leads: bool,
    /// The peer's further addresses.
    pub peers: Box<[IpAddr]>,
    announced: Box<[IpAddr]>,
    /// The path that was last agreed on.
    agreed: Path,
    /// Where the leader says it is, as long as that is not proved.
    tentative: Option<Box<(Path, Nat)>>,
    /// The hash of our address as the peer last saw it: when it changes, a NAT did it.
    seen_as: Option<Box<[u8]>>,
}

/// What we asked for with a COOKIE2.
#[derive(Debug)]
pub struct Moving {
    path: Path,
    cookie: Vec<u8>,
}

/// Whether the ends of such SAs may move: a transport mode SA is bound to its addresses.
pub fn allowed(core: &Core, policy: &Policy) -> bool {
    core.globals.mobike && policy.mode == Mode::Tunnel
}

/// What an IKE_AUTH message says of it: that we can, and our further addresses.
pub fn announcement(frame: &Frame, core: &Core) -> Vec<Payload> {
    let speaks = frame.initiator || frame.mobility.is_some();
    if !speaks || !allowed(core, &frame.policy) {
        return Vec::new();
    }
    let mut payloads = vec![Payload::Notify(Notify::new(NotifyType::MOBIKE_SUPPORTED))];
    payloads.extend(additional(&further(frame, core)));
    payloads.extend(no_nats(frame));
    payloads
}

/// Says that no NAT may be on the way, where the policy wants that and we decide (RFC 4555 §3.9).
fn no_nats(frame: &Frame) -> Option<Payload> {
    let Path { local, remote } = frame.path();
    let says = || Notify::with_data(NotifyType::NO_NATS_ALLOWED, ends(local, remote));
    (frame.initiator && frame.policy.no_nat).then(|| Payload::Notify(says()))
}

/// Both addresses and ports of a datagram, its source first (RFC 4555 §4.2.7).
fn ends(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let mut octets = Vec::with_capacity(36);
    for ip in [source.ip(), destination.ip()] {
        match ip {
            IpAddr::V4(v4) => octets.extend(v4.octets()),
            IpAddr::V6(v6) => octets.extend(v6.octets()),
        }
    }
    octets.extend(source.port().to_be_bytes());
    octets.extend(destination.port().to_be_bytes());
    octets
}

/// What the peer's IKE_AUTH message says of it.
pub fn heard(frame: &mut Frame, core: &Core, bag: &Bag) {
    if !bag.has(NotifyType::MOBIKE_SUPPORTED) || !allowed(core, &frame.policy) {
        return;
    }
    frame.mobility = Some(Box::new(Mobility {
        leads: frame.initiator,
        peers: told(bag).unwrap_or_default().into(),
        announced: further(frame, core).into(),
        agreed: frame.path(),
        tentative: None,
        seen_as: None,
    }));
}

/// Whether the peer forbids NATs and there is one: the addresses that it says it used are not those
/// that we see (RFC 4555 §3.8).
pub fn forbidden_nat(bag: &Bag, path: Path) -> bool {
    let Some(notify) = bag.notify(NotifyType::NO_NATS_ALLOWED) else { return false };
    notify.data != ends(path.remote, path.local)
}

/// Where a request goes that was sent so often already.
pub fn route(frame: &Frame, core: &Core, sent: u32) -> Path {
    let own = frame.path();
    let Some(mobility) = &frame.mobility else { return own };
    if let Some(tentative) = &mobility.tentative {
        return if sent == OLD_PATH { own } else { tentative.0 };
    }
    if !mobility.leads || sent < FIRST_PATH {
        return own;
    }
    let pairs = pairs(frame, core);
    let turn = usize::try_from(sent - FIRST_PATH + 1).unwrap_or(0);
    pairs.get(turn % pairs.len().max(1)).copied().unwrap_or(own)
}

/// The pairs of addresses that may be used, the present one first.
fn pairs(frame: &Frame, core: &Core) -> Vec<Path> {
    let own = frame.path();
    let mut pairs = vec![own];
    let peers = frame.mobility.as_deref().map(|it| &*it.peers).unwrap_or_default();
    for remote in [own.remote.ip()].iter().chain(peers) {
        for local in usable(frame, core) {
            let mut path = own;
            path.local.set_ip(local);
            path.remote.set_ip(*remote);
            if local.is_ipv4() == remote.is_ipv4() && !pairs.contains(&path) {
                pairs.push(path);
            }
        }
    }
    pairs.truncate(MOST_PAIRS);
    pairs
}

/// Our addresses that may carry the SA: not those that it protects.
fn usable(frame: &Frame, core: &Core) -> Vec<IpAddr> {
    let inner = |address: &IpAddr| {
        frame.policy.flows.iter().any(|flow| match flow.local.addresses {
            FlowAddresses::Prefix(prefix) => prefix.length() > 0 && prefix.contains(*address),
            FlowAddresses::Dynamic => false,
        })
    };
    let given = match frame.hosts().inner {
        Inner::Ours(given) => given,
        _ => Given::default(),
    };
    let own = frame.local.ip();
    let fits = |address: &&IpAddr| {
        let is_given = given.addresses().any(|inside| inside == **address);
        !is_given && (**address == own || !inner(address))
    };
    core.addresses.iter().filter(fits).copied().collect()
}

fn further(frame: &Frame, core: &Core) -> Vec<IpAddr> {
    let mut addresses = usable(frame, core);
    addresses.retain(|address| *address != frame.local.ip());
    addresses.truncate(MOST_ADDRESSES);
    addresses
}

fn additional(addresses: &[IpAddr]) -> impl Iterator<Item = Payload> + use<> {
    let notify = |address: &IpAddr| match address {
        IpAddr::V4(v4) => (NotifyType::ADDITIONAL_IP4_ADDRESS, v4.octets().to_vec()),
        IpAddr::V6(v6) => (NotifyType::ADDITIONAL_IP6_ADDRESS, v6.octets().to_vec()),
    };
    let notifies: Vec<_> = addresses.iter().map(notify).collect();
    notifies.into_iter().map(|(of, data)| Payload::Notify(Notify::with_data(of, data)))
}

/// The further addresses that a message tells; `None` if it says nothing about them.
fn told(bag: &Bag) -> Option<Vec<IpAddr>> {
    let mut addresses = Vec::new();
    let mut says = bag.has(NotifyType::NO_ADDITIONAL_ADDRESSES);
    for notify in &bag.notifies {
        let address = match (notify.notify_type, &*notify.data) {
            (NotifyType::ADDITIONAL_IP4_ADDRESS, data) => {
                <[u8; 4]>::try_from(data).map(IpAddr::from).ok()
            }
            (NotifyType::ADDITIONAL_IP6_ADDRESS, data) => {
                <[u8; 16]>::try_from(data).map(IpAddr::from).ok()
            }
            _ => continue,
        };
        says = true;
        addresses.extend(address.filter(|address| is_unicast(*address)));
    }
    addresses.truncate(MOST_ADDRESSES);
    says.then_some(addresses)
}

fn is_unicast(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    !address.is_unspecified() && !address.is_multicast() && !broadcast
}

fn hashes(frame: &Frame, path: Path) -> [Payload; 2] {
    let (initiator, responder) = frame.spis();
    natt::notifications(initiator, responder, path.local, path.remote)
}

fn detected(frame: &Frame, bag: &Bag, path: Path) -> Option<Nat> {
    let (initiator, responder) = frame.spis();
    natt::detect(&bag.notifies, initiator, responder, path.local, path.remote)
}

fn seen_as(bag: &Bag) -> Option<&[u8]> {
    bag.notify(NotifyType::NAT_DETECTION_DESTINATION_IP).map(|notify| &*notify.data)
}

impl Established {
    /// What an INFORMATIONAL request says of addresses; gives back what belongs into the answer.
    pub fn mobility_request(
        &mut self,
        frame: &mut Frame,
        core: &mut Core,
        bag: &Bag,
    ) -> Vec<Payload> {
        let path = frame.request_path();
        let Some(mobility) = frame.mobility.as_deref_mut() else { return Vec::new() };
        let mut payloads = Vec::new();
        if let Some(cookie) = bag.notify(NotifyType::COOKIE2) {
            payloads.push(Payload::Notify(cookie.clone()));
        }
        if let Some(peers) = told(bag) {
            mobility.peers = peers.into();
        }
        let leads = mobility.leads;
        let nat = detected(frame, bag, path);
        if nat.is_some() {
            payloads.extend(hashes(frame, path));
        }
        if forbidden_nat(bag, path) {
            payloads.push(Payload::Notify(Notify::new(NotifyType::UNEXPECTED_NAT_DETECTED)));
            return payloads;
        }
        if leads || !bag.has(NotifyType::UPDATE_SA_ADDRESSES) {
            return payloads;
        }
        let is_own = path.remote.ip() == path.local.ip();
        if !is_unicast(path.remote.ip()) || is_own || path.remote.port() == 0 {
            payloads.push(Payload::Notify(Notify::new(NotifyType::UNACCEPTABLE_ADDRESSES)));
            return payloads;
        }
        let nat = nat.unwrap_or(frame.nat);
        let tentative = (path != frame.path()).then(|| Box::new((path, nat)));
        if let Some(mobility) = frame.mobility.as_deref_mut() {
            mobility.tentative = tentative;
            if mobility.tentative.is_some() {
                self.urge(Task::CheckPath);
                // A request of ours that waits for its answer waits at the old place.
                frame.window.hurry(core.now);
                return payloads;
            }
        }
        self.move_to(frame, core, path, nat);
        payloads
    }

    /// The leader tells where it is.
    pub fn send_update(&mut self, frame: &mut Frame, core: &mut Core) {
        let (path, cookie) = (frame.path(), core.octets(COOKIE_LEN));
        let further = further(frame, core);
        let mut payloads = vec![Payload::Notify(Notify::new(NotifyType::UPDATE_SA_ADDRESSES))];
        payloads.push(Payload::Notify(Notify::with_data(NotifyType::COOKIE2, cookie.clone())));
        payloads.extend(hashes(frame, path));
        payloads.extend(announced(&further));
        payloads.extend(no_nats(frame));
        if let Some(mobility) = frame.mobility.as_deref_mut() {
            mobility.announced = further.into();
        }
        let exchange = ExchangeType::INFORMATIONAL;
        self.sent = core.now;
        if send_request(frame, core, &mut self.protection, exchange, &payloads) {
            self.under_way(frame, Active::Update(Moving { path, cookie }));
        }
    }

    /// The follower asks whether the leader is where it says.
    pub fn send_check(&mut self, frame: &mut Frame, core: &mut Core) {
        let tentative = frame.mobility.as_ref().and_then(|it| it.tentative.as_deref());
        let Some((path, _)) = tentative.copied() else { return };
        let cookie = core.octets(COOKIE_LEN);
        let payloads = [Payload::Notify(Notify::with_data(NotifyType::COOKIE2, cookie.clone()))];
        let exchange = ExchangeType::INFORMATIONAL;
        self.sent = core.now;
        if send_request(frame, core, &mut self.protection, exchange, &payloads) {
            self.under_way(frame, Active::Check(Moving { path, cookie }));
        }
    }

    /// Our addresses are others: the peer is told those that it could use besides.
    pub fn send_addresses(&mut self, frame: &mut Frame, core: &mut Core) {
        let further = further(frame, core);
        let payloads: Vec<_> = announced(&further).collect();
        if let Some(mobility) = frame.mobility.as_deref_mut() {
            mobility.announced = further.into();
        }
        if self.inform(frame, core, &payloads) {
            self.under_way(frame, Active::Inform);
        }
    }

    /// What a question whether the peer lives carries: hashes, from which a leader behind a NAT learns
    /// that the mapping changed (RFC 4555 §3.11).
    pub fn probe_payloads(frame: &Frame) -> Vec<Payload> {
        let wants = frame.mobility.as_ref().is_some_and(|it| it.leads) && frame.nat.local;
        if wants { hashes(frame, frame.path()).into() } else { Vec::new() }
    }

    /// The answer to a request came by this path; for the leader that may be another than before.
    pub fn answered_by(&mut self, frame: &mut Frame, core: &mut Core, path: Path) {
        let leads = frame.mobility.as_ref().is_some_and(|it| it.leads);
        if leads && path != frame.path() && pairs(frame, core).contains(&path) {
            let from = frame.path().ends();
            frame.report(core, Event::PathTried { from, to: path.ends() });
            (frame.local, frame.remote) = (path.local, path.remote);
            self.urge(Task::UpdateAddresses);
        }
    }

    /// What the answer to a request that was about something else says of the path.
    pub fn noticed(&mut self, frame: &mut Frame, core: &mut Core, bag: &Bag) {
        let Some(mobility) = frame.mobility.as_deref_mut().filter(|it| it.leads) else { return };
        let Some(hash) = seen_as(bag) else { return };
        if mobility.seen_as.as_deref() != Some(hash) {
            // The first time nothing is there to compare with: to say it once too often does no harm.
            let first = mobility.seen_as.replace(hash.into()).is_none();
            if !first {
                frame.report(core, Event::Remapped);
            }
            self.urge(Task::UpdateAddresses);
        }
    }

    /// The follower answered the update.
    pub fn updated(&mut self, frame: &mut Frame, core: &mut Core, sent: &Moving, bag: &Bag) {
        let Some(mobility) = frame.mobility.as_deref_mut() else { return };
        mobility.seen_as = seen_as(bag).map(Box::from).or(mobility.seen_as.take());
        let cookie = bag.notify(NotifyType::COOKIE2).map(|notify| &*notify.data);
        if cookie.is_some_and(|cookie| cookie != sent.cookie) {
            return self.false_cookie(frame, core);
        }
        if frame.path() != sent.path {
            // Meanwhile we are elsewhere again: what was agreed on is void (RFC 4555 §3.5).
            return self.urge(Task::UpdateAddresses);
        }
        let refusals = [NotifyType::UNACCEPTABLE_ADDRESSES, NotifyType::UNEXPECTED_NAT_DETECTED];
        if let Some(error) = bag.notifies.iter().find(|it| refusals.contains(&it.notify_type)) {
            let notify = error.notify_type.to_string();
            let event = Event::PathRefused { notify, path: sent.path.ends() };
            frame.report(core, event);
            return;
        }
        let Some(mobility) = frame.mobility.as_deref_mut() else { return };
        let from = std::mem::replace(&mut mobility.agreed, sent.path);
        if from != sent.path {
            frame.report(core, Event::PathMoved { from: from.ends(), to: sent.path.ends() });
        }
        let nat = detected(frame, bag, sent.path).unwrap_or(frame.nat);
        self.move_to(frame, core, sent.path, nat);
    }

    /// The leader answered the check, by this path.
    pub fn checked(
        &mut self,
        frame: &mut Frame,
        core: &mut Core,
        sent: &Moving,
        (bag, path): (&Bag, Path),
    ) {
        let Some(mobility) = frame.mobility.as_deref_mut() else { return };
        let cookie = bag.notify(NotifyType::COOKIE2).map(|notify| &*notify.data);
        if cookie.is_some_and(|cookie| cookie != sent.cookie) {
            return self.false_cookie(frame, core);
        }
        let Some(tentative) = mobility.tentative.take() else { return };
        let (wanted, nat) = *tentative;
        if wanted != sent.path {
            // The leader is elsewhere again.
            mobility.tentative = Some(Box::new((wanted, nat)));
            return self.urge(Task::CheckPath);
        }
        if cookie.is_some() && path == wanted {
            self.move_to(frame, core, path, nat);
        } else {
            frame.report(core, Event::PathNotProved { path: wanted.ends() });
        }
    }

    /// RFC 4555 §3.7: such an IKE SA must go.
    fn false_cookie(&mut self, frame: &mut Frame, core: &mut Core) {
        let what = "another COOKIE2 than it was sent".into();
        frame.report(core, Event::Misbehaved { what });
        self.want(Task::DeleteIke(Gone::Failed));
    }

    /// Our addresses are these now ([`Core::addresses`]).
    pub fn addresses_changed(&mut self, frame: &mut Frame, core: &mut Core) {
        let Some(mobility) = frame.mobility.as_deref() else { return };
        let own = frame.local.ip();
        let usable = usable(frame, core);
        if mobility.leads && !usable.contains(&own) {
            let remote = frame.remote.ip();
            let mut peers = vec![remote];
            peers.extend(&mobility.peers);
            let pair = peers.iter().find_map(|remote| {
                let fits = |local: &&IpAddr| local.is_ipv4() == remote.is_ipv4();
                Some((*usable.iter().find(fits)?, *remote))
            });
            // Without any address there is nothing to do but to wait for one.
            let Some((local, remote)) = pair else { return };
            let from = frame.path().ends();
            frame.local.set_ip(local);
            frame.remote.set_ip(remote);
            frame.report(core, Event::PathTried { from, to: frame.path().ends() });
            self.urge(Task::UpdateAddresses);
            // What is on its way is repeated from where we are now.
            frame.window.hurry(core.now);
        } else if *mobility.announced != *further(frame, core) {
            self.want(Task::TellAddresses);
        }
        self.advance(frame, core);
    }
}

fn announced(further: &[IpAddr]) -> impl Iterator<Item = Payload> + use<> {
    let none = further.is_empty().then(|| Notify::new(NotifyType::NO_ADDITIONAL_ADDRESSES));
    additional(further).chain(none.map(Payload::Notify))
}

impl Mobility {
    /// The path is another than the one agreed on, and nobody has said so yet.
    pub fn owes_update(&self, path: Path) -> bool {
        self.leads && self.agreed != path
    }

    /// For an IKE SA that takes another's place: hashes are made with its own SPIs.
    pub fn successor(&self) -> Box<Self> {
        Box::new(Self { seen_as: None, tentative: None, ..self.clone() })
    }
}
