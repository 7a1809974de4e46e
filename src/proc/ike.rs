//! The process around the engine: what comes in by sockets and links becomes inputs, and outputs go
//! out by them.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::Token;

use super::Role;
use super::child::{Child, Fault, Part, batch, claimed};
use super::imsg::Link;
use super::message::{
    Asked, ClientId, Down, Event, Packet, Reply, Settings, Show, Told, Up, Watch, Whose,
};
use super::poll::BATCH;
use super::road::Road;
use super::workers::{self, Heard, Known, Workers};
use crate::conf::{Config, PolicyName};
use crate::crypto::SystemRandom;
use crate::ike::Engine;
use crate::ike::event::{Command, Input, Output, Time};
use crate::ike::pool::Lease;
use crate::ike::report::{self, Level, Report, Way};
use crate::ike::view::IkeKeys;
use crate::net::{Datagram, Net, Sockets};
use crate::pki::CertView;

const CONTROL: Token = Token(1);
const RELAY: Token = Token(2);
const KERNEL: Token = Token(3);
/// Sockets have the tokens from here on, behind those of the workers.
const SOCKETS: usize = 16;

/// Of how many peers the last failure is kept.
const MAX_FAILURES: usize = 256;
/// Of how many IKE SAs it is kept that their keys were told.
const MAX_KEYS_TOLD: usize = 4096;
/// How many items of a list go to a client before it has to ask for more.
const PAGE: usize = 32;
/// With so many octets waiting for `control`, reports for onlookers are dropped.
const CONTROL_QUEUE: usize = 512 * 1024;

/// Whose a failure is.
type Failed = (Option<PolicyName>, Option<IpAddr>);

/// The engine and everything around it.
pub struct Ike {
    engine: Engine,
    start: Instant,
    /// Since `start`, as of this turn of the loop.
    now: Time,
    net: Net,
    kernel: Road,
    workers: Workers,
    /// What `ca` told of what it holds; `None` until it has.
    certs: Option<Vec<CertView>>,
    control: Option<Link<Told, Asked>>,
    listings: BTreeMap<ClientId, VecDeque<Reply>>,
    watch: Watch,
    /// The IKE SAs of which onlookers have the keys.
    keys_told: HashSet<(String, String)>,
    /// The port that IKE shares with ESP.
    encap_port: u16,
    failures: BTreeMap<Failed, Event>,
    /// A configuration that is being handed over.
    coming: Option<Config>,
    /// One that waits until the kernel has said what it can do.
    waiting: Option<Arc<Config>>,
    /// One is in force: datagrams are read from then on.
    configured: bool,
    /// Who had which address before; for the engine, once it knows the pools.
    leases: Vec<Lease>,
    /// The engine is through, and the parent is not told yet.
    finished: bool,
}

impl Default for Ike {
    fn default() -> Self {
        Self {
            engine: Engine::new(Box::new(SystemRandom), crate::ike::Settings::default()),
            start: Instant::now(),
            now: Time::default(),
            net: Net::Direct(Sockets::default()),
            kernel: Road::None,
            workers: Workers::default(),
            certs: None,
            control: None,
            listings: BTreeMap::new(),
            watch: Watch::Nothing,
            keys_told: HashSet::new(),
            encap_port: crate::net::NATT_PORT,
            failures: BTreeMap::new(),
            coming: None,
            waiting: None,
            configured: false,
            leases: Vec::new(),
            finished: false,
        }
    }
}

impl Part for Ike {
    fn down(
        &mut self,
        child: &mut Child,
        message: Down,
        descriptor: Option<OwnedFd>,
    ) -> Result<(), Fault> {
        match message {
            Down::Settings(settings) => self.set_up(child, &settings),
            Down::Peer(role) => self.meet(child, role, claimed(descriptor, "a link")?)?,
            Down::Udp(spec) => {
                let fd = claimed(descriptor, "a socket")?;
                let Net::Direct(sockets) = &mut self.net else {
                    return Err(Fault::Unexpected("a socket that the relay should have".into()));
                };
                child.events.watch(&fd, Token(SOCKETS + sockets.len()))?;
                sockets.add(spec, fd);
            }
            Down::Kernel(dialect) => {
                let fd = claimed(descriptor, "a socket")?;
                child.events.watch(&fd, KERNEL)?;
                self.kernel = Road::open(fd, &dialect)?;
                self.kernel.start(self.now);
            }
            Down::ConfigBegin(globals) => {
                self.coming = Some(Config { globals, policies: Vec::new() });
            }
            Down::ConfigPolicy(policy) => {
                self.coming.get_or_insert_default().policies.push(*policy);
            }
            Down::Leases(leases) => self.leases.extend(leases),
            Down::ConfigEnd => self.waiting = self.coming.take().map(Arc::new),
            Down::Addresses(addresses) => self.handle(Input::Addresses(addresses)),
            Down::Shutdown => self.handle(Input::Command(Command::Shutdown)),
            other => return Err(Fault::Unexpected(format!("ike {other:?}"))),
        }
        Ok(())
    }

    fn woke(&mut self, at: Instant) {
        self.now = Time::at(at.saturating_duration_since(self.start));
    }

    fn ready(&mut self, child: &mut Child, token: Token) -> Result<(), Fault> {
        match token {
            CONTROL => self.asked(child),
            RELAY => self.relayed(child),
            KERNEL => {
                self.kernel.readable(self.now);
                Ok(())
            }
            at if workers::TOKENS.contains(&at.0) => {
                let heard = self.workers.hear(child, at)?;
                self.heard(heard);
                Ok(())
            }
            Token(number) => self.datagrams(child, number - SOCKETS),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let times = [self.engine.next_timeout(), self.kernel.next_timeout()];
        times.into_iter().flatten().min().map(|time| self.start + time.since(Time::default()))
    }

    fn turn(&mut self, child: &mut Child) -> Result<(), Fault> {
        let now = self.now;
        let due = |time: Option<Time>| time.is_some_and(|time| time <= now);
        if due(self.kernel.next_timeout()) {
            self.kernel.timeout(now);
        }
        if due(self.engine.next_timeout()) {
            self.handle(Input::Timeout);
        }
        self.settle(child)
    }
}

impl Ike {
    fn handle(&mut self, input: Input<'_>) {
        self.engine.handle(self.now, input);
    }

    fn set_up(&mut self, child: &mut Child, settings: &Settings) {
        let own = crate::ike::Settings { ports: settings.ports, ..Default::default() };
        self.engine = Engine::new(Box::new(SystemRandom), own);
        self.encap_port = settings.ports.1;
        if settings.relayed {
            self.net = Net::Relayed(None);
        }
        if !settings.kernel {
            self.kernel = Road::pretended();
            child.log.notice("decoupled: no SA and no flow goes into the kernel");
        }
        if settings.restarted {
            child.log.notice(
                "an earlier ike process died: what it left in the kernel carries traffic until \
                 new SAs take its place, and is removed then",
            );
        }
    }

    /// A link to another process, in place of an earlier one.
    fn meet(&mut self, child: &mut Child, role: Role, fd: OwnedFd) -> Result<(), Fault> {
        match role {
            Role::Ca(number) => {
                let heard = self.workers.meet(child, number, fd)?;
                self.heard(heard);
            }
            Role::Control => {
                let link = Link::new(fd)?;
                child.events.watch(&link, CONTROL)?;
                replace(child, &mut self.control, Some(link));
                self.listings.clear();
                self.set_watch(Watch::Nothing);
            }
            Role::Relay => {
                let link = Link::new(fd)?;
                let Net::Relayed(relay) = &mut self.net else {
                    return Err(Fault::Unexpected("a relay that is not wanted".into()));
                };
                child.events.watch(&link, RELAY)?;
                replace(child, relay, Some(link));
            }
            Role::Parent | Role::Ike | Role::Reader => {
                return Err(Fault::Unexpected(format!("ike a link to {role}")));
            }
        }
        Ok(())
    }

    // ---- what comes ----

    /// Who called before there were policies waited: no policy is for nobody then, and a peer that is
    /// told so might give up.
    fn look_at_datagrams(&self, child: &mut Child) {
        match &self.net {
            Net::Direct(sockets) => {
                (0..sockets.len()).for_each(|index| child.events.again(Token(SOCKETS + index)));
            }
            Net::Relayed(_) => child.events.again(RELAY),
        }
    }

    fn datagrams(&mut self, child: &mut Child, index: usize) -> Result<(), Fault> {
        if !self.configured {
            return Ok(());
        }
        for _ in 0..BATCH {
            let Net::Direct(sockets) = &mut self.net else { return Ok(()) };
            let Some(datagram) = sockets.recv(index)? else { return Ok(()) };
            self.datagram(child, &datagram)?;
            self.settle(child)?;
        }
        child.events.again(Token(SOCKETS + index));
        Ok(())
    }

    fn relayed(&mut self, child: &mut Child) -> Result<(), Fault> {
        if !self.configured {
            return Ok(());
        }
        let Net::Relayed(Some(link)) = &mut self.net else { return Ok(()) };
        let (datagrams, end) = batch(link, &mut child.events, RELAY);
        if let Err(error) = end {
            child.events.forget(link);
            self.net = Net::Relayed(None);
            child.lost(Role::Relay, &error)?;
        }
        for (datagram, _) in datagrams {
            self.datagram(child, &datagram)?;
            self.settle(child)?;
        }
        Ok(())
    }

    fn datagram(&mut self, child: &mut Child, datagram: &Datagram) -> Result<(), Fault> {
        let Datagram { local, remote, octets } = datagram;
        let whose = self.whose(datagram);
        self.handle(Input::Datagram { local: *local, remote: *remote, octets });
        // A first message belongs to nobody before it is read, a last one to nobody after it.
        self.show_packet(child, Way::In, datagram, whose)
    }

    fn heard(&mut self, heard: impl IntoIterator<Item = Heard>) {
        for heard in heard {
            match heard {
                Heard::Answer(id, answer) => self.handle(Input::Answer(id, answer)),
                Heard::Known(Known { trust, certs }) => {
                    self.certs = Some(certs);
                    self.handle(Input::Trust(trust));
                }
            }
        }
    }

    fn asked(&mut self, child: &mut Child) -> Result<(), Fault> {
        let Some(link) = &mut self.control else { return Ok(()) };
        let (messages, end) = batch(link, &mut child.events, CONTROL);
        for (message, _) in messages {
            match message {
                Asked::Request(client, show) => {
                    let listing = self.listing(show);
                    self.listings.insert(client, listing);
                    self.page(child, client)?;
                }
                Asked::More(client) => self.page(child, client)?,
                Asked::Gone(client) => drop(self.listings.remove(&client)),
                Asked::Command(client, command) => {
                    let what = format!("{command:?}");
                    // The end is for the parent to say, and what onlookers see for `Watch`.
                    let reply = match command {
                        Command::Shutdown | Command::Trace(_) => Reply::Refused(what),
                        command => {
                            self.handle(Input::Command(command));
                            Reply::Done("ok".into())
                        }
                    };
                    self.tell(child, &Told::Reply(client, reply))?;
                }
                Asked::Watch(watch) => {
                    if watch == Watch::Keys && self.watch != Watch::Keys {
                        child.log.notice("keys of IKE SAs are handed to oakctl, as root asked for");
                    }
                    self.set_watch(watch);
                }
            }
        }
        if let Err(error) = end {
            replace(child, &mut self.control, None);
            self.listings.clear();
            self.set_watch(Watch::Nothing);
            child.lost(Role::Control, &error)?;
        }
        Ok(())
    }

    fn set_watch(&mut self, watch: Watch) {
        self.watch = watch;
        // Whoever came has not seen what others have.
        self.keys_told.clear();
        self.handle(Input::Command(Command::Trace(watch >= Watch::Messages)));
    }

    // ---- what goes ----

    /// Does what engine and kernel side want, until both are quiet.
    fn settle(&mut self, child: &mut Child) -> Result<(), Fault> {
        loop {
            let mut quiet = true;
            while let Some(input) = self.kernel.poll() {
                quiet = false;
                self.handle(input);
            }
            // Certificate requests are made of what `ca` told.
            if self.kernel.is_known()
                && self.certs.is_some()
                && let Some(config) = self.waiting.take()
            {
                quiet = false;
                self.handle(Input::Configure(config));
                if !std::mem::replace(&mut self.configured, true) {
                    self.look_at_datagrams(child);
                }
                for lease in std::mem::take(&mut self.leases) {
                    self.handle(Input::Lease(lease));
                }
            }
            while let Some(output) = self.engine.poll() {
                quiet = false;
                self.act(child, output)?;
            }
            let refused = self.workers.give(&mut self.engine);
            if quiet && refused.is_empty() {
                return self.finish(child);
            }
            self.heard(refused);
        }
    }

    /// The engine took down what is its own; what an earlier run left has to be known to be removed.
    fn finish(&mut self, child: &mut Child) -> Result<(), Fault> {
        if self.finished && !self.kernel.is_searching() {
            self.finished = false;
            self.kernel.sweep(self.now);
            child.parent.send(&Up::Finished).map_err(Fault::Parent)?;
        }
        Ok(())
    }

    fn act(&mut self, child: &mut Child, output: Output) -> Result<(), Fault> {
        match output {
            Output::Datagram { local, remote, octets } => {
                let datagram = Datagram { local, remote, octets };
                let whose = self.whose(&datagram);
                self.show_packet(child, Way::Out, &datagram, whose)?;
                self.send(child, datagram);
            }
            Output::Keepalive { local, remote } => {
                self.send(child, Datagram { local, remote, octets: Vec::new() });
            }
            Output::Kernel(id, request) => self.kernel.request(self.now, id, request),
            Output::Question(id, question) => {
                let refused = self.workers.ask(&mut self.engine, id, question);
                self.heard(refused);
            }
            Output::Host(change) => {
                child.parent.send(&Up::Host(change)).map_err(Fault::Parent)?;
            }
            Output::Lease(lease) => {
                child.parent.send(&Up::Lease(lease)).map_err(Fault::Parent)?;
            }
            Output::Report(report) => self.report(child, report)?,
            Output::Finished => self.finished = true,
        }
        Ok(())
    }

    fn send(&mut self, child: &mut Child, datagram: Datagram) {
        let Datagram { local, remote, .. } = datagram;
        if let Err(error) = self.net.send(&datagram) {
            // The engine sends it again when no answer comes.
            child.log.debug(format!("sending to {remote} from {local}: {error}"));
        }
    }

    fn report(&mut self, child: &mut Child, report: Report) -> Result<(), Fault> {
        child.log.line(report.level(), report.to_string());
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
        let event = Event { at, report };
        self.remember(&event);
        let seen = match event.report.level() {
            Level::Trace => self.watch >= Watch::Messages,
            _ => self.watch != Watch::Nothing,
        };
        let room = self.control.as_ref().is_some_and(|link| link.queued() < CONTROL_QUEUE);
        if seen && room {
            self.tell(child, &Told::Report(event))?;
        }
        Ok(())
    }

    /// Keeps the last failure of each peer; what succeeds since clears it.
    fn remember(&mut self, event: &Event) {
        let report = &event.report;
        let peer = (report.policy.clone(), report.peer.map(|peer| peer.ip()));
        if peer == (None, None) {
            return;
        }
        if let report::Event::ChildEstablished { .. } = report.event {
            self.failures.remove(&(None, peer.1));
            self.failures.remove(&peer);
        }
        if !report.explains_failure() {
            return;
        }
        if self.failures.len() >= MAX_FAILURES && !self.failures.contains_key(&peer) {
            let oldest = self.failures.iter().min_by_key(|(_, event)| event.at);
            let oldest = oldest.map(|(peer, _)| peer.clone());
            oldest.and_then(|peer| self.failures.remove(&peer));
        }
        self.failures.insert(peer, event.clone());
    }

    // ---- what onlookers see ----

    /// Whose a datagram is, if anybody looks so closely.
    fn whose(&self, datagram: &Datagram) -> Option<Whose> {
        if self.watch < Watch::Packets {
            return None;
        }
        let known = self.engine.whose(&datagram.octets);
        let (policy, identity) = known.map_or((None, None), |(name, id)| (Some(name), id));
        Some(Whose { remote: datagram.remote, policy, identity })
    }

    /// Shows a datagram, and the keys that open it to whoever asked for them.
    fn show_packet(
        &mut self,
        child: &mut Child,
        way: Way,
        datagram: &Datagram,
        whose: Option<Whose>,
    ) -> Result<(), Fault> {
        let known = whose.filter(|whose| whose.policy.is_some());
        let Some(whose) = known.or_else(|| self.whose(datagram)) else { return Ok(()) };
        let room = self.control.as_ref().is_some_and(|link| link.queued() < CONTROL_QUEUE);
        if datagram.octets.is_empty() || !room {
            return Ok(());
        }
        if self.watch == Watch::Keys {
            self.show_keys(child, &datagram.octets, &whose)?;
        }
        let packet = Packet {
            at: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO),
            way,
            local: datagram.local,
            encap: datagram.local.port() == self.encap_port,
            whose,
            octets: datagram.octets.clone(),
        };
        self.tell(child, &Told::Packet(Box::new(packet)))
    }

    fn show_keys(&mut self, child: &mut Child, octets: &[u8], whose: &Whose) -> Result<(), Fault> {
        let Some(keys) = self.engine.keys(octets) else { return Ok(()) };
        let name = match &keys {
            IkeKeys::V1 { cookie, .. } => (cookie.clone(), String::new()),
            IkeKeys::V2 { spis, .. } => spis.clone(),
        };
        if self.keys_told.len() >= MAX_KEYS_TOLD {
            self.keys_told.clear();
        }
        match self.keys_told.insert(name) {
            true => self.tell(child, &Told::Keys(whose.clone(), Box::new(keys))),
            false => Ok(()),
        }
    }

    fn listing(&self, show: Show) -> VecDeque<Reply> {
        let mut list: VecDeque<Reply> = match show {
            Show::Sas => {
                let sas = self.engine.sas(self.now).into_iter();
                sas.map(|sa| Reply::Sa(Box::new(sa))).collect()
            }
            Show::Flows => {
                let flows = self.engine.flows().into_iter();
                flows.map(|flow| Reply::Flow(Box::new(flow.into()))).collect()
            }
            Show::Stats => [Reply::Stats(self.engine.stats())].into(),
            Show::Certs => {
                let certs = self.certs.iter().flatten().cloned();
                certs.map(|view| Reply::Cert(Box::new(view))).collect()
            }
            Show::Failures => self.failures.values().cloned().map(Reply::Event).collect(),
        };
        list.push_back(Reply::Done(String::new()));
        list
    }

    /// Some items of a client's list.
    fn page(&mut self, child: &mut Child, client: ClientId) -> Result<(), Fault> {
        let Some(list) = self.listings.get_mut(&client) else { return Ok(()) };
        let items: Vec<Reply> = list.drain(..list.len().min(PAGE)).collect();
        let more = !list.is_empty();
        if !more {
            self.listings.remove(&client);
        }
        for item in items {
            self.tell(child, &Told::Reply(client, item))?;
        }
        if more { self.tell(child, &Told::Pause(client)) } else { Ok(()) }
    }

    fn tell(&mut self, child: &mut Child, message: &Told) -> Result<(), Fault> {
        let Some(link) = &mut self.control else { return Ok(()) };
        let Err(error) = link.send(message) else { return Ok(()) };
        replace(child, &mut self.control, None);
        child.lost(Role::Control, &error)
    }
}

/// Puts a link in another's place, which is watched no more.
fn replace<S, R>(child: &mut Child, place: &mut Option<Link<S, R>>, link: Option<Link<S, R>>) {
    if let Some(old) = place.take() {
        child.events.forget(&old);
    }
    *place = link;
}
