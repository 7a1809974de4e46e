//! The process around the engine: what comes in by sockets and links becomes inputs, and outputs go
//! out by them.

mod onlookers;

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::Token;

use super::Role;
use super::child::{Child, Fault, Part, batch, claimed};
use super::imsg::Link;
use super::message::{Asked, ClientId, Down, Event, Reply, Settings, Told, Up, Watch};
use super::poll::BATCH;
use super::road::Road;
use super::workers::{self, Heard, Known, Workers};
use crate::conf::{Config, PolicyName};
use crate::crypto::SystemRandom;
use crate::ike::Engine;
use crate::ike::event::{Command, Input, Output, Time};
use crate::ike::pool::Lease;
use crate::ike::report::{Level, Measure, Report, Way};
use crate::kernel::Left;
use crate::net::{Datagram, Net, Sockets};
use crate::pki::CertView;

const CONTROL: Token = Token(1);
const RELAY: Token = Token(2);
const KERNEL: Token = Token(3);
/// Sockets have the tokens from here on, behind those of the workers.
const SOCKETS: usize = 16;

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
    /// Where our sockets are.
    rdomain: u16,
    failures: BTreeMap<Failed, Event>,
    /// How much was logged lately.
    measure: Measure,
    /// A configuration that is being handed over.
    coming: Option<Config>,
    /// One that waits until the kernel has said what it can do.
    waiting: Option<Arc<Config>>,
    /// One is in force: datagrams are read from then on.
    configured: bool,
    /// Who had which address before; for the engine, once it knows the pools.
    leases: Vec<Lease>,
    /// What an earlier run has in the kernel, until that is there.
    left: Vec<Left>,
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
            rdomain: 0,
            failures: BTreeMap::new(),
            measure: Measure::default(),
            coming: None,
            waiting: None,
            configured: false,
            leases: Vec::new(),
            left: Vec::new(),
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
                self.kernel = Road::open(fd, &dialect, self.rdomain)?;
                self.kernel.start(self.now, std::mem::take(&mut self.left));
            }
            Down::ConfigBegin(globals) => {
                self.coming = Some(Config { globals, policies: Vec::new() });
            }
            Down::ConfigPolicy(policy) => {
                self.coming.get_or_insert_default().policies.push(*policy);
            }
            Down::Leases(leases) => self.leases.extend(leases),
            Down::Left(left) => self.left.extend(left),
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
                let was_closed = self.kernel.is_closed();
                self.kernel.readable(self.now);
                if self.kernel.is_closed() && !was_closed {
                    child.log.error(
                        "the way to the kernel is closed: what is there stays, and nothing can be \
                         changed; start the relay, and then oakd, again",
                    );
                }
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
        let times =
            [self.engine.next_timeout(), self.kernel.next_timeout(), self.measure.deadline()];
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
        self.say_what_was_left_out(child);
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
        (self.encap_port, self.rdomain) = (settings.ports.1, settings.rdomain);
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

    /// Has the parent keep what is ours in the kernel, and ends when it is time: the engine took down what is its
    /// own; what an earlier run left has to be known to be removed.
    fn finish(&mut self, child: &mut Child) -> Result<(), Fault> {
        let ends = self.finished && !self.kernel.is_searching();
        if ends {
            self.finished = false;
            self.kernel.sweep(self.now);
        }
        while let Some(note) = self.kernel.note() {
            child.parent.send(&Up::Kept(note)).map_err(Fault::Parent)?;
        }
        if ends {
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

    fn say_what_was_left_out(&mut self, child: &mut Child) {
        if let Some(sum) = self.measure.sum(self.now) {
            child.log.notice(sum);
        }
    }

    fn report(&mut self, child: &mut Child, report: Report) -> Result<(), Fault> {
        self.say_what_was_left_out(child);
        if self.measure.admits(self.now, &report) {
            child.log.line(report.level(), report.to_string());
        }
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
}

/// Puts a link in another's place, which is watched no more.
fn replace<S, R>(child: &mut Child, place: &mut Option<Link<S, R>>, link: Option<Link<S, R>>) {
    if let Some(old) = place.take() {
        child.events.forget(&old);
    }
    *place = link;
}
