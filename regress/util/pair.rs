//! Two engines joined by a pretend network, a pretend clock and two pretend kernels.
//!
//! A story: make a [`Pair`], configure both sides, say what the network or a kernel does wrong, let
//! time pass, look at what the kernels hold.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod policies;
mod pretend;

pub use policies::*;
pub use pretend::Kernel;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use oakd::conf::*;
use oakd::crypto::{Secret, SeededRandom, psk_auth, psk_skeyid, psk_verify};
use oakd::ike::auth::{Answer, Question, QuestionId};
use oakd::ike::event::*;
use oakd::ike::inner::HostChange;
use oakd::ike::pool::Lease;
use oakd::ike::report::{Event, Report};
use oakd::ike::{Engine, Settings};
use oakd::pki::Keyring;
use oakd::proc::ca;

pub const A: usize = 0;
pub const B: usize = 1;

/// One side.
pub struct Side {
    pub engine: Engine,
    pub kernel: Kernel,
    pub address: SocketAddr,
    /// Its further addresses.
    pub others: Vec<IpAddr>,
    pub psk: Secret,
    /// Keys and certificates, where the story is about them.
    pub ring: Option<Keyring>,
    /// The users' passwords.
    pub users: BTreeMap<String, Secret>,
    /// Questions get no answer, and are kept.
    pub mute: bool,
    pub asked: Vec<(QuestionId, Question)>,
    pub reports: Vec<Report>,
    pub host: Vec<HostChange>,
    pub leases: Vec<Lease>,
    pub finished: bool,
    pub keepalives: usize,
    /// Does not answer anything any more.
    pub dead: bool,
    /// Its kernel does what it is asked, and answers only when it is let.
    pub slow: bool,
    /// What it owes then.
    pub owed: Vec<(RequestId, KernelAnswer)>,
}

/// A datagram on its way.
#[derive(Clone, Debug)]
pub struct Datagram {
    pub at: Time,
    pub to: usize,
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub octets: Vec<u8>,
}

/// What becomes of a datagram.
pub enum Fate {
    Deliver,
    Lose,
    Twice,
    Late(Duration),
    Instead(Vec<u8>),
    /// Deliver, as if another had sent it.
    From(SocketAddr),
}

type Network = Box<dyn FnMut(usize, &Datagram) -> Fate>;

pub struct Pair {
    pub sides: [Side; 2],
    pub now: Time,
    pub flying: Vec<Datagram>,
    pub sent: usize,
    pub network: Network,
    /// A NAT before side A: its outer address.
    pub nat: Option<IpAddr>,
    /// What it adds to ports; the mapping is another when this is.
    pub nat_adds: u16,
}

impl Pair {
    /// Two sides without configuration.
    pub fn new() -> Self {
        Self::with(Settings::default(), 1)
    }

    pub fn with(settings: Settings, seed: u64) -> Self {
        let side = |number: u64, address: &str| Side {
            engine: Engine::new(Box::new(SeededRandom::new(seed * 2 + number)), settings.clone()),
            kernel: Kernel { moves: Some(true), ..Kernel::default() },
            address: SocketAddr::new(ip(address), 500),
            others: Vec::new(),
            psk: Secret::from(&b"secret"[..]),
            ring: None,
            users: BTreeMap::new(),
            mute: false,
            asked: Vec::new(),
            reports: Vec::new(),
            host: Vec::new(),
            leases: Vec::new(),
            finished: false,
            keepalives: 0,
            dead: false,
            slow: false,
            owed: Vec::new(),
        };
        Self {
            sides: [side(0, "192.0.2.1"), side(1, "192.0.2.2")],
            now: Time::at(Duration::from_secs(1000)),
            flying: Vec::new(),
            sent: 0,
            network: Box::new(|_, _| Fate::Deliver),
            nat: None,
            nat_adds: 10000,
        }
    }

    /// Both sides with the plain policy; not yet started.
    pub fn plain() -> Self {
        Self::of(|_| ())
    }

    /// Both sides with the plain policy changed; the passive one first.
    pub fn of(mut change: impl FnMut(&mut Policy)) -> Self {
        Self::each(|_, policy| change(policy))
    }

    pub fn each(mut change: impl FnMut(usize, &mut Policy)) -> Self {
        let mut pair = Self::new();
        for side in [B, A] {
            let mut it = policy(side);
            change(side, &mut it);
            pair.configure(side, vec![it]);
        }
        pair
    }

    pub fn configure(&mut self, side: usize, policies: Vec<Policy>) {
        self.input(side, Input::Configure(config(policies)));
    }

    pub fn command(&mut self, side: usize, command: Command) {
        self.input(side, Input::Command(command));
    }

    pub fn input(&mut self, side: usize, input: Input<'_>) {
        self.sides[side].engine.handle(self.now, input);
        self.drain(side);
    }

    /// Does what a side wants done.
    pub fn drain(&mut self, side: usize) {
        while let Some(output) = self.sides[side].engine.poll() {
            let now = self.now;
            let it = &mut self.sides[side];
            match output {
                Output::Datagram { local, remote, octets } => {
                    self.send(side, local, remote, octets)
                }
                Output::Keepalive { .. } => it.keepalives += 1,
                Output::Kernel(id, request) => {
                    let answer = it.kernel.answer(request);
                    match it.slow {
                        true => it.owed.push((id, answer)),
                        false => it.engine.handle(now, Input::Kernel(id, answer)),
                    }
                }
                Output::Question(id, question) if it.mute => it.asked.push((id, question)),
                Output::Question(id, question) => {
                    let by_key = it.ring.as_ref().and_then(|ring| ring.answer(&question));
                    let by_key = by_key.or_else(|| ca::user(&it.users, &question));
                    let answer = by_key.unwrap_or_else(|| answer(&it.psk, question));
                    it.engine.handle(now, Input::Answer(id, answer));
                }
                Output::Host(change) => it.host.push(change),
                Output::Lease(lease) => it.leases.push(lease),
                Output::Report(report) => {
                    if std::env::var_os("STORY").is_some() {
                        let seconds = now.since(Time::default()).as_millis();
                        eprintln!("{seconds} {}: {report}", ["A", "B"][side]);
                    }
                    it.reports.push(report);
                }
                Output::Finished => it.finished = true,
            }
        }
    }

    /// A slow kernel gives the answers that it owes.
    pub fn settle(&mut self, side: usize) {
        for (id, answer) in std::mem::take(&mut self.sides[side].owed) {
            self.input(side, Input::Kernel(id, answer));
        }
    }

    fn send(&mut self, side: usize, local: SocketAddr, remote: SocketAddr, octets: Vec<u8>) {
        if self.sides[side].dead {
            return;
        }
        let (mut from, mut to) = (local, remote);
        if from.ip().is_unspecified() {
            from.set_ip(self.sides[side].address.ip());
        }
        match self.nat {
            Some(outer) if side == A => {
                from = SocketAddr::new(outer, from.port() + self.nat_adds);
            }
            Some(outer) if to.ip() == outer => {
                let inner = self.sides[A].address.ip();
                // A mapping that is no more leads nowhere.
                to = SocketAddr::new(inner, to.port().wrapping_sub(self.nat_adds));
                if ![500, 4500].contains(&to.port()) {
                    return;
                }
            }
            _ => (),
        }
        let peer = 1 - side;
        let it = &self.sides[peer];
        if to.ip() != it.address.ip() && !it.others.contains(&to.ip()) {
            return;
        }
        let it = &self.sides[side];
        if self.nat.is_none() && from.ip() != it.address.ip() && !it.others.contains(&from.ip()) {
            return;
        }
        let at = self.now.after(Duration::from_millis(10));
        let datagram = Datagram { at, to: peer, local: to, remote: from, octets };
        let number = self.sent;
        self.sent += 1;
        match (self.network)(number, &datagram) {
            Fate::Deliver => self.flying.push(datagram),
            Fate::Lose => (),
            Fate::Twice => {
                let again = at.after(Duration::from_millis(1));
                self.flying.push(Datagram { at: again, ..datagram.clone() });
                self.flying.push(datagram);
            }
            Fate::Late(span) => self.flying.push(Datagram { at: at.after(span), ..datagram }),
            Fate::From(remote) => self.flying.push(Datagram { remote, ..datagram }),
            Fate::Instead(octets) => self.flying.push(Datagram { octets, ..datagram }),
        }
    }

    /// The next thing that happens, until a time.
    fn step(&mut self, until: Time) -> bool {
        let arrival = self.flying.iter().map(|datagram| datagram.at).min();
        let timeouts = self.sides.iter().filter(|side| !side.dead);
        let timeout = timeouts.filter_map(|side| side.engine.next_timeout()).min();
        let Some(next) = [arrival, timeout].into_iter().flatten().min() else { return false };
        if next > until {
            return false;
        }
        self.now = self.now.max(next);
        if let Some(at) = self.flying.iter().position(|datagram| datagram.at <= self.now) {
            let Datagram { to, local, remote, octets, .. } = self.flying.remove(at);
            if !self.sides[to].dead {
                self.input(to, Input::Datagram { local, remote, octets: &octets });
            }
            return true;
        }
        for side in [A, B] {
            if !self.sides[side].dead {
                self.input(side, Input::Timeout);
            }
        }
        true
    }

    /// Takes a datagram off the wire and hands it to whom it is for.
    pub fn deliver(&mut self, at: usize) {
        let Datagram { to, local, remote, octets, .. } = self.flying.remove(at);
        self.input(to, Input::Datagram { local, remote, octets: &octets });
    }

    /// A side's addresses are these from now on, and it is told so.
    pub fn addresses(&mut self, side: usize, addresses: &[&str]) {
        let addresses: Vec<_> = addresses.iter().map(|address| ip(address)).collect();
        self.sides[side].address.set_ip(addresses[0]);
        self.sides[side].others = addresses[1..].to_vec();
        self.input(side, Input::Addresses(addresses));
    }

    /// Lets time pass.
    pub fn pass(&mut self, seconds: u64) -> &mut Self {
        self.pass_millis(seconds * 1000)
    }

    /// As [`Pair::pass`], in milliseconds.
    pub fn pass_millis(&mut self, millis: u64) -> &mut Self {
        let until = self.now.after(Duration::from_millis(millis));
        let mut steps = 0;
        while self.step(until) {
            steps += 1;
            assert!(steps < 200_000, "it does not come to rest");
        }
        self.now = until;
        self
    }

    /// Asserts that both kernels hold this many matching child SAs and nothing else.
    pub fn assert_children(&self, count: usize) {
        for side in [A, B] {
            let (own, peers) = (&self.sides[side].kernel, &self.sides[1 - side].kernel);
            assert_eq!(own.complaints, Vec::<String>::new(), "side {side}");
            assert!(own.larval.is_empty(), "side {side} leaks {:?}", own.larval);
            assert_eq!(own.count(Direction::Out), count, "outbound SAs of side {side}");
            assert_eq!(own.count(Direction::In), count, "inbound SAs of side {side}");
            for sa in own.sas.values().filter(|sa| sa.direction == Direction::Out) {
                let twin = peers
                    .sas
                    .values()
                    .find(|twin| twin.direction == Direction::In && twin.key.spi == sa.key.spi);
                let twin = twin.unwrap_or_else(|| panic!("{:?} has no twin", sa.key));
                assert!(twin.encryption == sa.encryption, "cipher keys differ");
                assert!(twin.integrity == sa.integrity, "integrity keys differ");
                assert_eq!(twin.mode, sa.mode);
                assert_eq!(twin.ipcomp, sa.ipcomp);
                let around = |sa: &KernelSa| {
                    sa.around.as_ref().map(|it| (it.spi, it.integrity.0, it.integrity.1.clone()))
                };
                assert!(around(twin) == around(sa), "AH differs");
                assert_eq!(twin.esn, sa.esn);
                assert_eq!(twin.encap.is_some(), sa.encap.is_some());
            }
        }
    }

    /// How many IKE SAs each side shows.
    pub fn assert_ike(&self, count: usize) {
        for (number, side) in self.sides.iter().enumerate() {
            let sas = side.engine.sas(self.now);
            assert_eq!(sas.len(), count, "IKE SAs of side {number}: {sas:#?}");
        }
    }

    /// One IKE SA, one child pair on both sides.
    pub fn assert_up(&self) {
        self.assert_ike(1);
        self.assert_children(1);
    }

    /// Shuts both down and asserts that nothing is left in the kernels.
    pub fn end(mut self) {
        self.network = Box::new(|_, _| Fate::Deliver);
        for side in [A, B] {
            self.command(side, Command::Shutdown);
        }
        self.pass(5);
        for (number, side) in self.sides.iter().enumerate() {
            assert!(side.dead || side.finished, "side {number} has not finished");
            let kernel = &side.kernel;
            assert!(kernel.sas.is_empty(), "side {number} leaks {:?}", kernel.sas.keys());
            assert!(kernel.larval.is_empty(), "side {number} leaks {:?}", kernel.larval);
            assert!(kernel.flows.is_empty(), "side {number} leaks {:?}", kernel.flows.keys());
            if kernel.fails.is_empty() {
                assert_eq!(kernel.complaints, Vec::<String>::new(), "side {number}");
            }
        }
    }

    /// Whether a side reported something.
    pub fn reported(&self, side: usize, condition: impl Fn(&Event) -> bool) -> bool {
        self.sides[side].reports.iter().any(|report| condition(&report.event))
    }

    pub fn told(&self, side: usize, words: &str) -> bool {
        self.sides[side].reports.iter().any(|report| report.to_string().contains(words))
    }

    /// The name of the only inbound child SA of a side.
    pub fn inbound(&self, side: usize) -> SaKey {
        let kernel = &self.sides[side].kernel;
        kernel.sas.values().find(|sa| sa.direction == Direction::In).unwrap().key
    }

    pub fn expire(&mut self, side: usize, hard: bool) {
        let key = self.inbound(side);
        if hard {
            self.sides[side].kernel.sas.remove(&(key.spi.0, key.dst));
        }
        self.input(side, Input::Expire(Expire { key, hard }));
    }
}

/// What the holder of the secrets says.
pub fn answer(psk: &Secret, question: Question) -> Answer {
    match question {
        Question::SharedKeySign { prf, octets, .. } => {
            Answer::Signed(psk_auth(prf, psk, &octets).unwrap())
        }
        Question::SharedKeyVerify { prf, octets, auth, .. } => {
            match psk_verify(prf, psk, &octets, &auth).unwrap() {
                true => Answer::Verified,
                false => Answer::Wrong,
            }
        }
        Question::Skeyid { prf, nonces, .. } => {
            Answer::Skeyid(psk_skeyid(prf, psk, &nonces).unwrap())
        }
        _ => Answer::Refused("there is no private key to answer with".into()),
    }
}
